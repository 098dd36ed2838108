// Pictures that people give a page: chosen, dropped or pasted; read by the browser, or refused in a sentence.

import { short } from "./gauges.js";

const MOST_BYTES = 32 * 2 ** 20;
const MOST_PIXELS = 64e6; // decoded, 256 MB

/** Read a file as an element that can be drawn; what cannot be read is an Error with a sentence. */
export async function readPicture(file) {
  if (file.type && !file.type.startsWith("image/")) throw new Error(`${file.name} is no image, but ${file.type}.`);
  if (file.size > MOST_BYTES) throw new Error(`${file.name} has ${short(file.size / 2 ** 20)} MiB; at most 32 MiB are read here.`);
  const picture = new Image();
  const address = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      picture.onload = resolve;
      picture.onerror = () => reject(new Error(`${file.name} is no image that this browser can read.`));
      picture.src = address;
    });
    const [width, height] = [picture.naturalWidth, picture.naturalHeight];
    if (!width || !height) throw new Error(`${file.name} does not say how many pixels it has.`);
    if (width * height > MOST_PIXELS) {
      throw new Error(`${file.name} has ${width} × ${height} pixels; at most 64 million are read here. Make it smaller.`);
    }
    await picture.decode().catch(() => {
      throw new Error(`${file.name} is damaged.`);
    });
    return picture;
  } finally {
    URL.revokeObjectURL(address);
  }
}

/**
 * Take what is dropped anywhere on the page, and what is pasted.
 * @param {Function} take called with a File
 * @param {Function} refuse called with a sentence
 * @param {HTMLElement} target marked while a file is above the page
 * @param {AbortSignal} signal ends it
 */
export function takeFiles(take, refuse, target, signal) {
  const given = (transfer) => [...transfer.files][0];
  const listen = (name, act) => document.addEventListener(name, act, { signal });
  listen("dragover", (event) => {
    if (event.target.closest?.("input, dialog")) return;
    event.preventDefault();
    target.classList.add("dropping");
  });
  for (const name of ["dragleave", "dragend"]) listen(name, (event) => !event.relatedTarget && target.classList.remove("dropping"));
  listen("drop", (event) => {
    if (event.target.closest?.("input, dialog")) return;
    event.preventDefault();
    target.classList.remove("dropping");
    const file = given(event.dataTransfer);
    if (file) take(file);
    else refuse("That is no file; drop an image file.");
  });
  listen("paste", (event) => {
    if (event.target.closest?.("input, textarea, dialog")) return;
    const file = given(event.clipboardData);
    if (!file) return refuse("The clipboard holds no image.");
    event.preventDefault();
    return take(file);
  });
}
