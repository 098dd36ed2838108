// NPY arrays: the form in which the service takes and gives many numbers at once.

export const NPY = "application/x-npy";
const MAGIC = "\x93NUMPY";
const ALIGNED = 64; // bytes that NumPy aligns the numbers to
const KINDS = { "<f4": Float32Array, "|u1": Uint8Array, "<i8": BigInt64Array };

/** Write numbers (Float32Array, Uint8Array or BigInt64Array, in C order) as a file of a shape such as [N, D]. */
export function writeNpy(numbers, shape) {
  const [descr] = Object.entries(KINDS).find(([, kind]) => numbers instanceof kind);
  const said = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const start = MAGIC.length + 4;
  const header = said.padEnd(Math.ceil((start + said.length + 1) / ALIGNED) * ALIGNED - start - 1) + "\n";
  const file = new Uint8Array(start + header.length + numbers.byteLength);
  file.set([...MAGIC].map((each) => each.charCodeAt(0)));
  file.set([1, 0, header.length & 255, header.length >> 8], MAGIC.length);
  file.set([...header].map((each) => each.charCodeAt(0)), start);
  file.set(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength), start + header.length);
  return file;
}

/** Read a file (an ArrayBuffer): {numbers, shape}; integers of 64 bits become plain numbers. */
export function readNpy(file) {
  const view = new DataView(file);
  const isFirst = view.getUint8(MAGIC.length) === 1;
  const start = MAGIC.length + (isFirst ? 4 : 6);
  const end = start + (isFirst ? view.getUint16(MAGIC.length + 2, true) : view.getUint32(MAGIC.length + 2, true));
  const header = String.fromCharCode(...new Uint8Array(file, start, end - start));
  const shape = /'shape': \(([\d, ]*)\)/.exec(header)[1].split(",").filter((each) => each.trim()).map(Number);
  const numbers = new KINDS[/'descr': '([^']*)'/.exec(header)[1]](file.slice(end));
  const plain = numbers instanceof BigInt64Array ? Float64Array.from(numbers, Number) : numbers;
  return { numbers: header.includes("'fortran_order': True") ? transposed(plain, shape) : plain, shape };
}

/** Numbers [N, D] whose columns lie one after the other, row by row. */
function transposed(numbers, [rows, columns = 1]) {
  return numbers.map((_, index) => numbers[(index % columns) * rows + Math.floor(index / columns)]);
}

export const asNpy = { accept: NPY, read: async (response) => readNpy(await response.arrayBuffer()) };
