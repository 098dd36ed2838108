// What the page shows, as stores that panels subscribe to; the address holds it, so that a link restores the view.

export const LARGEST_SEED = Number.MAX_SAFE_INTEGER; // JSON in a browser is exact up to here
export const NO_OPTIONS = Object.freeze({ seed: 0, label: null, truncation: null, condition: null, codes: Object.freeze({}) });
const MOST_KEPT = 64;

/** A value with listeners: `get()`, `set(value)`, `subscribe(listener)` → a function that ends it. */
export function store(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      value = next;
      [...listeners].forEach((listener) => listener(value));
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/*
 * A kept sample is what it is drawn from: {seed, label, truncation, condition, codes}. `id` tells equal ones.
 * `7~l3~t0.7~u42~slant:0.5` is one in an address: the seed, then only what is there. Names of codes are identifiers.
 */
export function writeKept(sample) {
  const parts = [String(sample.seed)];
  if (sample.label !== null) parts.push(`l${sample.label}`);
  if (sample.truncation !== null) parts.push(`t${sample.truncation}`);
  if (sample.condition !== null) parts.push(`u${sample.condition}`);
  for (const name of Object.keys(sample.codes).sort()) parts.push(`${name}:${sample.codes[name]}`);
  return parts.join("~");
}

export function readKept(text) {
  const [seed, ...parts] = text.split("~");
  const sample = { ...NO_OPTIONS, seed: whole(seed), codes: {} };
  for (const part of parts) {
    const [name, value] = part.split(":");
    if (value !== undefined) sample.codes[name] = decimal(value);
    else if (part[0] === "l") sample.label = whole(part.slice(1));
    else if (part[0] === "t") sample.truncation = decimal(part.slice(1));
    else if (part[0] === "u") sample.condition = whole(part.slice(1));
  }
  const numbers = [sample.seed, sample.label ?? 0, sample.truncation ?? 1, sample.condition ?? 0, ...Object.values(sample.codes)];
  return numbers.every(Number.isFinite) ? sample : null;
}

export const same = (a, b) => writeKept(a) === writeKept(b);

function whole(text) {
  const number = /^\d{1,16}$/.test(text ?? "") ? Number(text) : NaN;
  return number <= LARGEST_SEED ? number : NaN;
}

// What `Number` makes of an empty text is 0, and of "0x10" 16.
const decimal = (text) => (/^-?\d+(\.\d+)?(e[-+]?\d+)?$/i.test(text) ? Number(text) : NaN);

/** What an address says: {name, version, view, options, kept}; what it does not say is null. */
export function readAddress(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const options = { ...NO_OPTIONS, codes: {} };
  const number = (name, convert) => {
    const value = said.has(name) ? convert(said.get(name)) : NaN;
    return Number.isFinite(value) ? value : null;
  };
  options.seed = number("seed", whole) ?? 0;
  options.label = number("label", whole);
  options.truncation = number("truncation", decimal);
  options.condition = number("condition", whole);
  for (const pair of said.getAll("codes")) {
    const [name, value] = pair.split(":");
    if (value !== undefined && Number.isFinite(decimal(value))) options.codes[name] = decimal(value);
  }
  const kept = said.has("kept") ? said.get("kept").split(",").map(readKept).filter(Boolean).slice(0, MOST_KEPT) : null;
  return { name: said.get("model"), version: said.get("version"), view: said.get("view"), options, kept };
}

export function writeAddress({ name, version, view, options, kept }) {
  const said = new URLSearchParams({ model: name, version });
  if (view) said.set("view", view);
  said.set("seed", options.seed);
  for (const key of ["label", "truncation", "condition"]) if (options[key] !== null) said.set(key, options[key]);
  for (const [key, value] of Object.entries(options.codes)) said.append("codes", `${key}:${value}`);
  if (kept.length) said.set("kept", kept.map(writeKept).join(","));
  return `#${String(said).replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%7E", "~")}`;
}

/** What lasts between visits; a browser may have no storage, or refuse it, and then nothing does. */
export const memory = {
  get(key) {
    try {
      return localStorage.getItem(`ganymede.${key}`);
    } catch {
      return null;
    }
  },
  set(key, text) {
    try {
      localStorage.setItem(`ganymede.${key}`, text);
    } catch {
      // The address has what matters.
    }
  },
  readKept: (name) => (memory.get(`kept.${name}`) ?? "").split(",").filter(Boolean).map(readKept).filter(Boolean),
  writeKept: (name, kept) => memory.set(`kept.${name}`, kept.map(writeKept).join(",")),
};

/** Add a sample to those that are kept, or take it out; answers whether it is kept now. */
export function toggle(kept, sample) {
  const all = kept.get();
  const others = all.filter((each) => !same(each, sample));
  const isKept = others.length === all.length;
  kept.set(isKept ? [...all, sample].slice(-MOST_KEPT) : others);
  return isKept;
}
