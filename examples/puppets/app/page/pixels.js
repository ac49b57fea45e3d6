// From a picture to a network's input, by the arithmetic of `neurokit run` (Pillow's): the same bytes for the same pixels.

const PRECISION = 2 ** 22; // Pillow's fixed point for pictures of bytes

/** Returns the brightness of RGBA pixels: ITU-R 601-2 in Pillow's integers. */
export function grey(rgba) {
  const out = new Uint8Array(rgba.length / 4);
  for (let i = 0, j = 0; i < out.length; i += 1, j += 4) {
    out[i] = (rgba[j] * 19595 + rgba[j + 1] * 38470 + rgba[j + 2] * 7471 + 0x8000) >> 16;
  }
  return out;
}

/** Returns one colour of RGBA pixels. */
export function channel(rgba, which) {
  const out = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < out.length; i += 1) out[i] = rgba[4 * i + which];
  return out;
}

function cubic(x) {
  const a = -0.5;
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

/** Returns, for every new place, the first old one that it reads and whole-number weights of those that follow. */
function taps(from, to) {
  const scale = from / to;
  const wide = Math.max(scale, 1);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - 2 * wide + 0.5), 0);
    const last = Math.min(Math.trunc(centre + 2 * wide + 0.5), from);
    const raw = [];
    for (let x = first; x < last; x += 1) raw.push(cubic((x - centre + 0.5) * (1 / wide)));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    const weights = raw.map((weight) => {
      const fixed = (sum === 0 ? weight : weight / sum) * PRECISION;
      return Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    });
    return { first, weights };
  });
}

function pass(source, rows, columns, wanted, rowStep, columnStep, outRow, outColumn, out) {
  const all = taps(columns, wanted);
  for (let row = 0; row < rows; row += 1) {
    for (let place = 0; place < wanted; place += 1) {
      const { first, weights } = all[place];
      let sum = PRECISION / 2;
      for (let k = 0; k < weights.length; k += 1) {
        sum += source[row * rowStep + (first + k) * columnStep] * weights[k];
      }
      out[row * outRow + place * outColumn] = Math.min(Math.max(Math.floor(sum / PRECISION), 0), 255);
    }
  }
  return out;
}

/** Returns a plane of bytes in another size: Pillow's bicubic filter, across and then down. */
export function resize(plane, width, height, newWidth, newHeight) {
  let now = plane;
  if (width !== newWidth) {
    now = pass(now, height, width, newWidth, width, 1, newWidth, 1, new Uint8Array(newWidth * height));
  }
  if (height !== newHeight) {
    now = pass(now, newWidth, height, newHeight, 1, newWidth, 1, newWidth, new Uint8Array(newWidth * newHeight));
  }
  return now;
}

/** Returns an ImageData as one sample of a network's input, `[C, H, W]`. */
export function sample(image, input, mean, std) {
  const [channels, height, width] = input.shape;
  const planes = channels === 1 ? [grey(image.data)] : [0, 1, 2].map((which) => channel(image.data, which));
  const size = height * width;
  const out = input.dtype === "uint8" ? new Uint8Array(channels * size) : new Float32Array(channels * size);
  planes.forEach((plane, c) => {
    const small = resize(plane, image.width, image.height, width, height);
    for (let i = 0; i < size; i += 1) out[c * size + i] = scaled(small[i], c, input, mean, std);
  });
  return out;
}

function scaled(byte, c, input, mean, std) {
  if (input.dtype === "uint8") return byte;
  const bright = Math.fround(byte / 255);
  if (mean || std) {
    const centred = Math.fround(bright - Math.fround(mean ? mean[c % mean.length] : 0));
    return Math.fround(centred / Math.fround(std ? std[c % std.length] : 1));
  }
  return Math.fround(Math.fround(bright * (input.high - input.low)) + input.low);
}
