"""Tasks: preprocessing, postprocessing and metrics of a kind of work."""

from neurokit.tasks.task import TASKS as TASKS
from neurokit.tasks.task import Task as Task
from neurokit.tasks.task import TaskInfo as TaskInfo
from neurokit.tasks.task import register_task as register_task
from neurokit.tasks.task import task_of as task_of
