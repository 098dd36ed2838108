// Checks custom resources (a JSON list on stdin) against the published types of their kinds; prints a line for each fault.
// `KUBERNETES_MODELS` is a node_modules with @kubernetes-models/{keda,prometheus-operator,gateway-api}.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import path from "node:path";

const PACKAGES = {
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
  "gateway.networking.k8s.io": "gateway-api",
};
const load = createRequire(import.meta.url);

// Unknown keys pass the published checks, and a cluster would drop them in silence: they are those that no check reads.
function watched(value, place, unread) {
  if (typeof value !== "object" || value === null) return value;
  const inside = Array.isArray(value) ? [] : {};
  for (const [key, child] of Object.entries(value)) {
    const at = `${place}.${key}`;
    if (!Array.isArray(value)) unread.add(at);
    inside[key] = watched(child, at, unread);
  }
  return new Proxy(inside, {
    get(target, key) {
      unread.delete(`${place}.${String(key)}`);
      return target[key];
    },
  });
}

for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const [group, version] = object.apiVersion.split("/");
  const file = path.join(
    process.env.KUBERNETES_MODELS, "@kubernetes-models", PACKAGES[group], group, version, `${object.kind}.js`,
  );
  const Kind = load(file)[object.kind];
  const made = new Kind(object);
  const unread = new Set();
  made.spec = watched(made.spec, `${object.kind}.spec`, unread);
  try {
    made.validate();
  } catch (error) {
    console.log(`${object.kind}: ${error.message}`);
  }
  for (const key of unread) console.log(`${key}: there is no such key`);
}
