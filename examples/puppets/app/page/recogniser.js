// One network in ONNX Runtime's WebAssembly: a picture in, its class out; a spiking network keeps its membranes.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { sample } from "./pixels.js";

const MAPS = "neurokit.class_maps";
const SPIKES = "neurokit.spikes";
const ARRAYS = { float32: Float32Array, uint8: Uint8Array, float64: Float64Array, int64: BigInt64Array, bool: Uint8Array };

ort.env.wasm.numThreads = 1; // threads would need headers that a plain file server does not send
ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

export class Recogniser {
  /** Loads a network; `card` is its entry in models.json. */
  static async open(card) {
    const answer = await fetch(card.file);
    if (!answer.ok) throw new Error(`${card.file} is not there (${answer.status})`);
    const session = await ort.InferenceSession.create(new Uint8Array(await answer.arrayBuffer()));
    return new Recogniser(card, session);
  }

  constructor(card, session) {
    this.card = card;
    this.session = session;
    this.last = Promise.resolve();
    this.reset();
  }

  /** Does one thing after the other: two runs at once would mix their membranes. */
  alone(work) {
    const done = this.last.then(work);
    this.last = done.catch(() => undefined);
    return done;
  }

  /** Puts every membrane back to where it starts, and forgets the outputs so far. */
  reset() {
    this.states = {};
    this.outputs = [];
    this.maps = [];
    for (const state of this.card.states) {
      const size = state.shape.reduce((a, b) => a * b, 1);
      const values = new ARRAYS[state.dtype](size);
      if (Array.isArray(state.init)) values.set(state.init);
      else if (state.init !== 0) values.fill(state.init);
      this.states[state.input] = new ort.Tensor(state.dtype, values, state.shape);
    }
  }

  /** Answers for one picture on its own: a network that takes time steps sees it at each of them, from rest. */
  picture(image) {
    return this.alone(async () => {
      const start = performance.now();
      this.reset();
      const input = this.prepare(image);
      let spikes = 0;
      for (let step = 0; step < (this.card.streams ? this.card.timeSteps : 1); step += 1) spikes += await this.step(input);
      return this.answer(spikes, start);
    });
  }

  /** Answers for the next frame of a stream: one time step of a network that streams, from where the last one ended. */
  frame(image) {
    if (!this.card.streams) return this.picture(image);
    return this.alone(async () => {
      const start = performance.now();
      return this.answer(await this.step(this.prepare(image)), start);
    });
  }

  prepare(image) {
    const { input, mean, std } = this.card;
    const one = sample(image, input, mean, std);
    const times = input.time ? this.card.timeSteps : 1;
    const values = new one.constructor(one.length * times);
    for (let t = 0; t < times; t += 1) values.set(one, t * one.length);
    return new ort.Tensor(input.dtype, values, [...(input.time ? [times] : []), 1, ...input.shape]);
  }

  async step(input) {
    const found = await this.session.run({ [this.card.input.name]: input, ...this.states });
    for (const state of this.card.states) this.states[state.input] = found[state.output];
    this.outputs.push(found[this.card.output].data);
    if (this.card.maps) this.maps.push(found[MAPS]);
    const kept = this.card.streams ? this.card.timeSteps : 1; // as many steps as the network was trained on
    this.outputs = this.outputs.slice(-kept);
    this.maps = this.maps.slice(-kept);
    return this.card.spikes ? found[SPIKES].data[0] : 0;
  }

  answer(spikes, start) {
    const scores = this.reduced();
    const shares = softmax(scores);
    const best = shares.indexOf(Math.max(...shares));
    const order = shares.map((_, i) => i).sort((a, b) => shares[b] - shares[a] || a - b);
    return {
      best,
      name: this.card.classes[best] ?? String(best),
      confidence: shares[best],
      first: order.slice(0, 3).map((i) => ({ name: this.card.classes[i] ?? String(i), share: shares[i] })),
      scores: Array.from(scores),
      map: this.mapOf(best),
      spikes,
      ms: performance.now() - start,
    };
  }

  /** Returns the scores over the time steps, summed as the network's own form does. */
  reduced() {
    const classes = this.card.classes.length || this.outputs[0].length;
    const all = this.outputs.flatMap((y) => Array.from({ length: y.length / classes }, (_, t) => y.subarray(t * classes, (t + 1) * classes)));
    if (this.card.timeOutput === "last") return all[all.length - 1];
    const total = new Float32Array(classes);
    for (const y of all) for (let i = 0; i < classes; i += 1) total[i] += y[i];
    if (this.card.timeOutput !== "sum") for (let i = 0; i < classes; i += 1) total[i] /= all.length;
    return total;
  }

  /** Returns what speaks for a class where, `h` rows of `w` numbers, negative ones as 0; null where there is no map. */
  mapOf(best) {
    if (!this.maps.length) return null;
    const [classes, h, w] = this.maps[0].dims.slice(-3);
    const total = new Float64Array(h * w);
    for (const { data } of this.maps) {
      for (let t = 0; t < data.length; t += classes * h * w) {
        for (let i = 0; i < h * w; i += 1) total[i] += data[t + best * h * w + i];
      }
    }
    return Array.from({ length: h }, (_, y) => Array.from(total.subarray(y * w, (y + 1) * w), (value) => Math.max(value, 0)));
  }
}

function softmax(scores) {
  const most = Math.max(...scores);
  const raised = Array.from(scores, (score) => Math.exp(score - most));
  const total = raised.reduce((a, b) => a + b, 0);
  return raised.map((value) => value / total);
}
