# neurokit with ONNX Runtime and the simulator, without CUDA: docker build -t neurokit . && docker run --rm -v "$PWD:/work" neurokit doctor
FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ && rm -rf /var/lib/apt/lists/*
# PyTorch first: what is there is not fetched again with CUDA.
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.11,<2.16" torchvision
COPY . /opt/neurokit
RUN pip install --no-cache-dir "/opt/neurokit[torch,onnx,nir,events,sim,bench]"
WORKDIR /work
ENTRYPOINT ["neurokit"]
CMD ["--help"]
