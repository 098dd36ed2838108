// How a sample is drawn again outside of this page: as curl, as Python, and as an address that never changes.

import { wanted } from "./packages.js";

const fileOf = (pkg, sample) => `${pkg.name}-${sample.seed}.${pkg.kind === "image" ? "png" : "npy"}`;

/** The body of POST /generate that draws the sample. */
export const bodyOf = (pkg, sample) => ({ ...wanted(pkg, sample), seed: sample.seed });

/** Its address, under the stack that the bytes depend on: caches may keep what is there for ever. */
export function addressOf(api, pkg, sample) {
  const query = new URLSearchParams();
  const fields = wanted(pkg, sample);
  if ("label" in fields) query.set("label", fields.label);
  for (const [name, value] of Object.entries(fields.codes ?? {})) query.append("codes", `${name}:${value}`);
  if ("truncation" in fields) query.set("truncation", fields.truncation);
  if ("condition" in fields) query.set("condition", fields.condition);
  query.set("stack", pkg.stack);
  const form = pkg.kind === "image" ? "png" : "npy";
  return api.url(`models/${pkg.name}/versions/${pkg.version}/samples/${sample.seed}.${form}?${query}`.replaceAll("%3A", ":"));
}

/** The key stays out of what is copied. */
const VARIABLE = "GANYMEDE_KEY";

export function curlOf(api, pkg, sample) {
  const form = pkg.kind === "image" ? "png" : "npy";
  const body = JSON.stringify(bodyOf(pkg, sample)).replaceAll("'", "'\\''");
  return `curl -o ${fileOf(pkg, sample)} '${api.url(`generate?format=${form}`)}' -H 'content-type: application/json'${api.hasKey() ? ` -H "X-API-Key: $${VARIABLE}"` : ""} -d '${body}'`;
}

export function pythonOf(api, pkg, sample) {
  const form = pkg.kind === "image" ? "png" : "npy";
  const fields = Object.entries(bodyOf(pkg, sample)).map(([name, value]) => `    ${JSON.stringify(name)}: ${JSON.stringify(value)},`);
  return [
    `import json, ${api.hasKey() ? "os, " : ""}pathlib, urllib.request`,
    "",
    "wanted = {",
    ...fields,
    "}",
    "request = urllib.request.Request(",
    `    ${JSON.stringify(api.url(`generate?format=${form}`))},`,
    "    json.dumps(wanted).encode(),",
    `    {"content-type": "application/json"${api.hasKey() ? `, "x-api-key": os.environ["${VARIABLE}"]` : ""}},`,
    ")",
    "with urllib.request.urlopen(request) as answer:",
    `    pathlib.Path(${JSON.stringify(fileOf(pkg, sample))}).write_bytes(answer.read())`,
    "",
  ].join("\n");
}
