// What a browser lacks, in words for the person before it.

// (func (result v128) (i8x16.popcnt (i8x16.splat (i32.const 0)))): valid only where there is SIMD.
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

/** Returns why no network runs in this browser, or "". */
export function lacks() {
  if (typeof WebAssembly !== "object") {
    return "This browser has no WebAssembly, or it is switched off, and the network needs it. Use a current Chrome, Edge, Firefox or Safari.";
  }
  if (!WebAssembly.validate(new Uint8Array(SIMD))) {
    return "This browser's WebAssembly has no SIMD, and the network needs it. Chrome and Edge have it from 91 on, Firefox from 89, Safari from 16.4, on processors with SSE4.1 or NEON.";
  }
  return "";
}

const CAMERA = {
  NotAllowedError: "The camera was not allowed. Allow it for this page in the browser's address bar and press the button again, or choose a picture.",
  SecurityError: "The browser's settings forbid the camera. Choose a picture instead.",
  NotFoundError: "There is no camera. Connect one and press the button again, or choose a picture.",
  OverconstrainedError: "There is no camera that fits. Connect another and press the button again, or choose a picture.",
  NotReadableError: "The camera is there, but another program holds it. Close that program and press the button again, or choose a picture.",
  AbortError: "The camera did not start. Press the button again, or choose a picture.",
};

/** Returns what to tell somebody whose camera gives no picture. */
export function cameraTrouble(error) {
  return CAMERA[error.name] ?? `The camera gives no picture (${error.message}). Choose a picture instead.`;
}

/** Returns a stream of the camera, or throws an error with a name that `cameraTrouble` knows. */
export async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("a browser gives it only to pages from https or localhost");
  }
  return navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: { ideal: "environment" } } });
}
