// Which packages there are, what each can do, and how its samples are asked for.

/** Name, version and state of every package, the default first: [{name, version, ready, onDemand, state, reason, isDefault}]. */
export async function listPackages(api, signal) {
  const { models } = await api.get("models", { signal });
  const all = models.flatMap((model) =>
    model.versions.map((each) => ({
      name: model.name,
      version: each.version,
      state: each.state,
      ready: each.state === "ready",
      onDemand: each.on_demand, // out of memory, until a request asks for it
      reason: each.reason ?? "",
      isDefault: model.default,
    })),
  );
  return all.sort((a, b) => Number(b.isDefault) - Number(a.isDefault));
}

/** Have a package loaded that is out of memory: whatever asks for its graphs does. */
export const haveLoaded = (api, { name, version }, signal) =>
  api.get(`v2/models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}`, { signal });

/**
 * What a package is, for panels and controls:
 *   name, version, sha256, stack, summary, license
 *   kind       "image", "vector" or "item"
 *   sample     {height, width, channels}, {size} or {count}
 *   latent     {size, prior}
 *   labels     names of its classes, or null
 *   codes      [{name, size}] categorical and [{name, low, high}] continuous, in one list; empty where there are none
 *   condition  {name, count}, or null
 *   scored     whether its samples have a realness
 *   scoresAny  whether a sample is scored without its label
 *   judges     {takes, batchCoupled} of its discriminator, or null: what it is told beside a sample ("label",
 *              "condition"), and whether a score depends on the samples beside it
 *   encodes    what its encoder reads, "latent" and "code": a list, empty without one
 *   encoder    {takes}, or null
 *   reference  {count, sha256} of its real vectors, or null
 *   provenance of its training, as the manifest has it
 *   page       GET /models/NAME/versions/VERSION, whole
 */
export async function loadPackage(api, name, version, signal) {
  const page = await api.get(`models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}`, { signal });
  return {
    name: page.name,
    version: page.version,
    sha256: page.package_sha256,
    stack: page.stack,
    summary: page.summary,
    license: page.license,
    kind: page.sample.kind,
    sample: page.sample,
    latent: page.latent,
    labels: page.labels ?? null,
    codes: [...(page.codes?.categorical ?? []), ...(page.codes?.continuous ?? [])],
    condition: page.condition ?? null,
    scored: Boolean(page.discriminator),
    scoresAny: Boolean(page.discriminator && (!page.discriminator.takes.includes("label") || page.discriminator.unknown_label)),
    judges: page.discriminator ? { takes: page.discriminator.takes, batchCoupled: page.discriminator.batch_coupled } : null,
    encodes: page.encoder?.gives ?? [],
    encoder: page.encoder ? { takes: page.encoder.takes } : null,
    reference: page.reference ?? null,
    provenance: page.provenance ?? {},
    page,
  };
}

/** The fields of POST /generate that stand for a package and the controls; `seed`, `n` and others are the caller's. */
export function wanted(pkg, options) {
  const fields = { model: pkg.name, version: pkg.version };
  if (pkg.labels && options.label !== null) fields.label = options.label;
  if (pkg.condition) fields.condition = options.condition ?? 0;
  if (canTruncate(pkg) && options.truncation !== null) fields.truncation = options.truncation;
  const codes = Object.fromEntries(pkg.codes.filter(({ name }) => name in options.codes).map(({ name }) => [name, options.codes[name]]));
  if (Object.keys(codes).length) fields.codes = codes;
  return fields;
}

/**
 * What draws a sample of an answer again, whatever the seed left open included: to be kept.
 * @param {Object} sample as /generate answers it
 * @param {Object} options that were asked for
 */
export function drawn(pkg, sample, options) {
  return {
    seed: sample.seed,
    label: sample.label ?? null,
    truncation: wanted(pkg, options).truncation ?? null,
    condition: sample.condition ?? null,
    codes: sample.codes ?? {},
  };
}

/** Truncation redraws coordinates, which Gumbel noise has no use for. */
export const canTruncate = (pkg) => pkg.latent.prior !== "gumbel";
