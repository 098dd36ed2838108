// Checks a dashboard against Grafana's published types: node dashboard_schema.mjs MODULES DASHBOARD.json
// MODULES is the node_modules folder of `npm install @grafana/schema typescript`. Prints the compiler's errors; 0 without any.
// The compiler refuses keys that a type does not have and values of another type, as it does in Grafana's own source.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [modules, file] = process.argv.slice(2).map((each) => resolve(each));
const typescript = createRequire(join(modules, "package.json"))("typescript");
const dashboard = JSON.parse(readFileSync(file, "utf8"));
const configurations = { timeseries: "TimeSeries", stat: "Stat" };
const generated = join(modules, "@grafana/schema/dist/types/raw");

// JSON has no enums: their values are strings there.
const lines = [
  `import type { Dashboard } from "${generated}/dashboard/x/dashboard_types.gen";`,
  "type Json<T> = unknown extends T ? T : T extends string ? `${T}` : T extends number | boolean | null | undefined ? T",
  "  : T extends (infer E)[] ? Json<E>[] : { [K in keyof T]: Json<T[K]> };",
  `export const dashboard: Json<Dashboard> = ${JSON.stringify(dashboard)};`,
];
for (const [type, name] of Object.entries(configurations)) {
  lines.push(`import type * as ${type} from "${generated}/composable/${type}/panelcfg/x/${name}PanelCfg_types.gen";`);
}
for (const panel of dashboard.panels.filter((panel) => panel.type !== "row")) {
  if (!(panel.type in configurations)) throw new Error(`no types are named here for panels of the type ${panel.type}`);
  lines.push(`export const options${panel.id}: Json<${panel.type}.Options> = ${JSON.stringify(panel.options)};`);
  const custom = panel.fieldConfig.defaults.custom;
  if (custom) lines.push(`export const custom${panel.id}: Json<${panel.type}.FieldConfig> = ${JSON.stringify(custom)};`);
}

const options = {
  module: typescript.ModuleKind.ESNext,
  moduleResolution: typescript.ModuleResolutionKind.Bundler,
  noEmit: true,
  skipLibCheck: true,
  strict: true,
  target: typescript.ScriptTarget.ES2022,
  types: [],
};
const source = "dashboard.ts";
const host = typescript.createCompilerHost(options);
const { fileExists, getSourceFile } = host;
host.fileExists = (name) => name === source || fileExists(name);
host.getSourceFile = (name, ...rest) =>
  name === source ? typescript.createSourceFile(name, lines.join("\n"), ...rest) : getSourceFile(name, ...rest);
const program = typescript.createProgram([source], options, host);
const errors = typescript.getPreEmitDiagnostics(program);
for (const error of errors) {
  const place = error.file && error.start !== undefined ? `${error.file.text.slice(error.start, error.start + 80)}: ` : "";
  console.log(place + typescript.flattenDiagnosticMessageText(error.messageText, "\n  "));
}
process.exit(errors.length ? 1 : 0);
