// The page: chooses a network, takes a camera or pictures, shows what the network says.

import { cameraTrouble, lacks, openCamera } from "./support.js";

const at = (id) => document.getElementById(id);
const view = at("view").getContext("2d", { willReadFrequently: true });
let recogniser = null;
let stream = null;
let asked = 0; // every choice of a network or a source makes what came before stale

/** Shows what went wrong, or hides it. */
function tell(words) {
  at("problem").hidden = !words;
  at("problem").textContent = words;
}

function pixelsOf(source, width, height, crop) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, crop.x, crop.y, width, height, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** Returns the middle of a camera's frame, in the proportions of the network's input. */
function middle(video, input) {
  const [, h, w] = input.shape;
  const scale = Math.min(video.videoWidth / w, video.videoHeight / h);
  const [width, height] = [Math.floor(w * scale), Math.floor(h * scale)];
  return { width, height, x: Math.floor((video.videoWidth - width) / 2), y: Math.floor((video.videoHeight - height) / 2) };
}

function draw(image, map) {
  const picture = new OffscreenCanvas(image.width, image.height);
  picture.getContext("2d").putImageData(image, 0, 0);
  view.imageSmoothingEnabled = image.width > view.canvas.width;
  view.drawImage(picture, 0, 0, view.canvas.width, view.canvas.height);
  const most = map ? Math.max(...map.flat()) : 0;
  if (!at("overlay").checked || !(most > 0)) return;
  const [h, w] = [map.length, map[0].length];
  const heat = new ImageData(w, h);
  map.flat().forEach((value, i) => heat.data.set([230, 60, 0, Math.round((190 * value) / most)], 4 * i));
  const small = new OffscreenCanvas(w, h);
  small.getContext("2d").putImageData(heat, 0, 0);
  view.imageSmoothingEnabled = true;
  view.drawImage(small, 0, 0, view.canvas.width, view.canvas.height);
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** Shows an answer; the numbers behind it are in the data of #answer. */
function show(image, answer, caption) {
  const { card } = recogniser;
  draw(image, answer.map);
  at("class").textContent = answer.name;
  at("confidence").textContent = percent(answer.confidence);
  at("ms").textContent = `${answer.ms.toFixed(1)} ms`;
  at("spiking").hidden = !card.spikes;
  if (card.spikes) {
    const of = card.neurons ? ` from ${card.neurons.toLocaleString("en")} neurons` : "";
    at("spikes").textContent = answer.spikes.toLocaleString("en") + of;
  }
  at("caption").textContent = caption;
  at("bars").replaceChildren(...answer.first.map(({ name, share }) => {
    const row = document.createElement("li");
    const meter = Object.assign(document.createElement("meter"), { value: share });
    meter.setAttribute("aria-label", name);
    row.append(Object.assign(document.createElement("span"), { textContent: name }), meter, Object.assign(document.createElement("span"), { textContent: percent(share) }));
    return row;
  }));
  Object.assign(at("answer").dataset, {
    name: answer.name, best: answer.best, confidence: answer.confidence, ms: answer.ms, spikes: answer.spikes,
    scores: JSON.stringify(answer.scores), map: JSON.stringify(answer.map), frames: Number(at("answer").dataset.frames ?? 0) + 1,
  });
}

/** Reads pictures one after the other; of several there is a table. */
async function pictures(files) {
  const mine = stop();
  at("rows").replaceChildren();
  at("several").hidden = files.length < 2;
  at("several").dataset.done = "no";
  for (const file of files) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    } catch {
      tell(`${file.name} is no picture that this browser can read. Choose a PNG or JPEG file.`);
      continue;
    }
    const image = pixelsOf(bitmap, bitmap.width, bitmap.height, { x: 0, y: 0 });
    const answer = await recogniser.picture(image);
    if (mine !== asked) return;
    show(image, answer, file.name);
    const row = at("rows").insertRow();
    row.dataset.best = answer.best;
    for (const text of [file.name, answer.name, percent(answer.confidence), answer.ms.toFixed(1)]) row.insertCell().textContent = text;
  }
  at("several").dataset.done = "yes";
}

/** Ends the camera, and makes whatever still runs stale. */
function stop() {
  asked += 1;
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  at("camera").textContent = "Use the camera";
  tell("");
  return asked;
}

async function camera() {
  const wasOn = stream !== null;
  const mine = stop();
  if (wasOn) return;
  try {
    const opened = await openCamera();
    if (mine !== asked) {
      opened.getTracks().forEach((track) => track.stop());
      return;
    }
    stream = opened;
  } catch (error) {
    tell(cameraTrouble(error));
    return;
  }
  at("camera").textContent = "Stop the camera";
  at("several").hidden = true;
  const video = at("video");
  video.srcObject = stream;
  stream.getVideoTracks()[0].addEventListener("ended", () => { stop(); tell("The camera was disconnected."); });
  await video.play();
  recogniser.reset();
  const next = () => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(frame) : requestAnimationFrame(frame));
  async function frame() {
    if (mine !== asked) return;
    if (video.videoWidth) {
      const crop = middle(video, recogniser.card.input);
      const image = pixelsOf(video, crop.width, crop.height, crop);
      const answer = await recogniser.frame(image);
      if (mine !== asked) return;
      show(image, answer, "The camera.");
    }
    next();
  }
  next();
}

async function choose(card) {
  const mine = stop();
  controls(false);
  const opened = await import("./recogniser.js").then(({ Recogniser }) => Recogniser.open(card));
  if (mine !== asked) return;
  recogniser = opened;
  at("about").textContent = [card.about, card.maps ? "" : `No picture of where it looks: ${card.why}.`].filter(Boolean).join(" ");
  controls(true);
}

function controls(on) {
  for (const id of ["camera", "files", "model"]) at(id).disabled = !on;
}

/** Stores the page in the browser, so that it opens without a network. */
async function keep() {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("sw.js");
  await navigator.serviceWorker.ready;
  at("offline").dataset.ready = "yes";
  at("offline").textContent = "Stored: it works without a network.";
}

async function start() {
  const lack = lacks();
  if (lack) {
    tell(lack);
    return;
  }
  const { models } = await (await fetch("models.json")).json();
  at("model").replaceChildren(...models.map((card, i) => new Option(card.title, String(i))));
  const guarded = (work) => (...args) => work(...args).catch((error) => tell(`The network does not run in this browser: ${error.message}`));
  at("model").addEventListener("change", guarded(() => choose(models[Number(at("model").value)])));
  at("camera").addEventListener("click", guarded(camera));
  at("files").addEventListener("change", guarded(() => pictures([...at("files").files])));
  await guarded(choose)(models[0]);
  document.body.dataset.ready = recogniser ? "yes" : "no";
  keep().catch((error) => { at("offline").textContent = `It cannot be stored for use without a network: ${error.message}.`; });
}

start().catch((error) => tell(`The page does not start: ${error.message}`));
