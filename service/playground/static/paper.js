// A sheet to draw on, of exactly the pixels that a package takes: by pen, touch or keys, or filled with a picture.

import { bounded, h } from "./dom.js";

const UNDO_BYTES = 2 ** 26;
const MOST_UNDONE = 60;
const STROKE_SHARE = 1 / 12; // of the shorter side: about as wide as a digit of MNIST is drawn
const STEP_SHARE = 1 / 28; // of the shorter side, for one press of an arrow key
const SMOOTH_FROM = 129; // sheets of this many pixels a side are shown without their pixels
const WEIGHTS = [0.299, 0.587, 0.114]; // of red, green and blue in a grey, as Pillow has them (ITU-R 601-2)

/**
 * Make a sheet.
 * @param {Object} sample {width, height, channels} of the package
 * @param {Function} changed called after every change
 * @param {Function} say tells screen readers
 * @returns {Object} `element`; `pixels()` [H, W, C] as they are shown; `revision`, `blank`; and what tools do
 */
export function createPaper({ width, height, channels }, changed, say) {
  const canvas = h("canvas", {
    class: Math.max(width, height) < SMOOTH_FROM ? "paper pixelated" : "paper",
    width,
    height,
    tabindex: 0,
    role: "application",
    "aria-roledescription": "drawing area",
    "aria-label": `Drawing area of ${width} × ${height} pixels`,
    "aria-describedby": "paper-keys",
  });
  const cursor = h("span", { class: "paper-cursor", "aria-hidden": "true" });
  const element = h("div", { class: "paper-frame" }, canvas, cursor);
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  const short = Math.min(width, height);
  const step = Math.max(1, Math.round(short * STEP_SHARE));
  const before = [];
  const mostBefore = bounded(Math.floor(UNDO_BYTES / (4 * width * height)), 1, MOST_UNDONE);
  const at = { x: width / 2, y: height / 2 };
  let last = null; // where the pen was, while it is down
  let isDown = false; // the pen of the keys

  const sheet = {
    element,
    canvas,
    revision: 0,
    blank: true,
    ink: "#ffffff",
    ground: "#000000",
    erases: false,
    stroke: Math.max(1, short * STROKE_SHARE),
    /** Pixels as the service takes them, uint8 [H, W, C]. */
    pixels() {
      const { data } = drawing.getImageData(0, 0, width, height);
      const pixels = new Uint8Array(width * height * channels);
      for (let from = 0, to = 0; from < data.length; from += 4) for (let channel = 0; channel < channels; channel += 1) pixels[to++] = data[from + channel];
      return pixels;
    },
    clear() {
      remember();
      fill();
      settle(true);
    },
    undo() {
      const former = before.pop();
      if (!former) return false;
      drawing.putImageData(former.picture, 0, 0);
      settle(former.blank);
      return true;
    },
    /** Turn light to dark and dark to light: of the picture, of the ink and of the ground. */
    invert() {
      const { blank } = sheet;
      remember();
      recolour((data, start) => data.subarray(start, start + 3).forEach((each, channel) => (data[start + channel] = 255 - each)));
      [sheet.ink, sheet.ground] = [inverse(sheet.ink), inverse(sheet.ground)];
      settle(blank);
    },
    /** Fill the sheet with a picture, all of it or as much as covers the sheet. */
    async place(picture, whole) {
      const [wide, high] = [picture.naturalWidth ?? picture.width, picture.naturalHeight ?? picture.height];
      const scale = (whole ? Math.min : Math.max)(width / wide, height / high);
      const shown = { width: Math.min(wide, width / scale), height: Math.min(high, height / scale) };
      const target = { width: Math.max(1, Math.round(shown.width * scale)), height: Math.max(1, Math.round(shown.height * scale)) };
      const fitted = await createImageBitmap(
        picture,
        Math.round((wide - shown.width) / 2),
        Math.round((high - shown.height) / 2),
        Math.max(1, Math.round(shown.width)),
        Math.max(1, Math.round(shown.height)),
        { resizeWidth: target.width, resizeHeight: target.height, resizeQuality: "high" },
      );
      remember();
      fill();
      const [left, top] = [Math.round((width - target.width) / 2), Math.round((height - target.height) / 2)];
      drawing.drawImage(fitted, left, top);
      fitted.close();
      surround(left, top, target.width, target.height);
      if (channels === 1) recolour((data, start) => data.fill(Math.round(WEIGHTS[0] * data[start] + WEIGHTS[1] * data[start + 1] + WEIGHTS[2] * data[start + 2]), start, start + 3));
      settle(false);
    },
    /** Colours of ink and ground, and an empty sheet of that ground. */
    use(ink, ground) {
      Object.assign(sheet, { ink, ground });
      before.length = 0;
      fill();
      settle(true);
    },
  };

  function fill() {
    drawing.fillStyle = sheet.ground;
    drawing.fillRect(0, 0, width, height);
  }

  /** Go on with the colour of a picture's edges where it leaves the sheet free; inverted, they still match. */
  function surround(left, top, wide, high) {
    if (wide >= width && high >= height) return;
    const { data } = drawing.getImageData(left, top, wide, high);
    const edges = Array.from({ length: wide * high }, (_, place) => place).filter((place) => {
      const [x, y] = [place % wide, Math.floor(place / wide)];
      return x === 0 || y === 0 || x === wide - 1 || y === high - 1;
    });
    const median = (channel) => edges.map((place) => data[4 * place + channel]).sort((a, b) => a - b)[edges.length >> 1];
    drawing.fillStyle = `rgb(${[0, 1, 2].map(median).join()})`;
    drawing.fillRect(0, 0, width, top);
    drawing.fillRect(0, top + high, width, height);
    drawing.fillRect(0, 0, left, height);
    drawing.fillRect(left + wide, 0, width, height);
  }

  function recolour(change) {
    const picture = drawing.getImageData(0, 0, width, height);
    for (let start = 0; start < picture.data.length; start += 4) change(picture.data, start);
    drawing.putImageData(picture, 0, 0);
  }

  function remember() {
    before.push({ picture: drawing.getImageData(0, 0, width, height), blank: sheet.blank });
    if (before.length > mostBefore) before.shift();
  }

  function settle(blank) {
    sheet.blank = blank;
    sheet.revision += 1;
    changed();
  }

  function line(from, to) {
    drawing.strokeStyle = sheet.erases ? sheet.ground : sheet.ink;
    drawing.lineWidth = sheet.stroke;
    drawing.lineCap = "round";
    drawing.beginPath();
    drawing.moveTo(from.x, from.y);
    drawing.lineTo(to.x, to.y + (from.x === to.x && from.y === to.y ? 0.001 : 0)); // a dot has to have a length
    drawing.stroke();
    settle(false);
  }

  function placeOf(event) {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * width, y: ((event.clientY - box.top) / box.height) * height };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || last) return;
    canvas.setPointerCapture(event.pointerId);
    remember();
    last = { ...placeOf(event), pointer: event.pointerId };
    line(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last?.pointer !== event.pointerId) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const each of passed.length ? passed : [event]) {
      const next = { ...placeOf(each), pointer: event.pointerId };
      line(last, next);
      last = next;
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      if (last?.pointer === event.pointerId) last = null;
    });
  }

  function showCursor() {
    cursor.style.setProperty("--x", at.x / width);
    cursor.style.setProperty("--y", at.y / height);
    cursor.classList.toggle("down", isDown);
  }

  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const move = MOVES[event.key];
    if (move) {
      const to = { x: bounded(at.x + move[0] * step, 0, width), y: bounded(at.y + move[1] * step, 0, height) };
      if (isDown) line(at, to);
      Object.assign(at, to);
    } else if (event.key === " " || event.key === "Enter") {
      isDown = !isDown;
      if (isDown) {
        remember();
        line(at, at);
      }
      say(isDown ? "The pen is down." : "The pen is up.");
    } else return;
    event.preventDefault();
    showCursor();
  });
  canvas.addEventListener("blur", () => {
    isDown = false;
    showCursor();
  });

  fill();
  showCursor();
  return sheet;
}

const inverse = (colour) => `#${[1, 3, 5].map((start) => (255 - parseInt(colour.slice(start, start + 2), 16)).toString(16).padStart(2, "0")).join("")}`;
