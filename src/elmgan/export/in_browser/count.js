// Counts one image after the other, in a thread of its own. Nothing is sent anywhere but to the page.

let rules, runtime, sees, network;

// ---- What runs the graphs

const text = (packed) => new Response(packed).text();

// Unpacks what the page holds in Base64, compressed with gzip.
async function unpacked(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

async function start(parts) {
  rules = JSON.parse(parts.rules);
  const script = new Blob([await text(await unpacked(parts.script))], { type: "text/javascript" });
  runtime = await import(URL.createObjectURL(script));
  runtime.env.logLevel = "error";
  runtime.env.wasm.numThreads = 1;  // a page from the disk has no memory that threads share
  runtime.env.wasm.wasmBinary = (await unpacked(parts.wasm)).buffer;
  const open = async (packed) => runtime.InferenceSession.create(await unpacked(packed), { executionProviders: ["wasm"], enableMemPattern: false });
  [sees, network] = [await open(parts.seeing), await open(parts.network)];
}

async function run(session, data, shape) {
  const found = await session.run({ image: new runtime.Tensor("float32", data, shape) });
  return Object.fromEntries(Object.entries(found).map(([name, tensor]) => [name, tensor.data]));
}

// What the network says of an image of any size: padded to what it takes, in tiles with a halo where it is large.
async function predict(image, advance) {
  const { multiple, halo, stride, tile } = rules, whole = tile + 2 * halo;
  const [rows, columns] = [image.rows, image.columns].map((side) => Math.ceil(side / multiple) * multiple);
  const even = (length) => Math.ceil(length / Math.ceil(length / tile) / multiple) * multiple;
  const [high, wide] = [rows > whole ? even(rows) : rows, columns > whole ? even(columns) : columns];
  const probability = imageOf(image.rows, image.columns);
  const map = imageOf(Math.ceil(image.rows / stride), Math.ceil(image.columns / stride));
  const number = Math.ceil(rows / high) * Math.ceil(columns / wide);
  for (let top = 0; top < rows; top += high) {
    for (let left = 0; left < columns; left += wide) {
      const [first, begin] = [Math.max(top - halo, 0), Math.max(left - halo, 0)];
      const [most, broad] = [Math.min(top + high + halo, rows) - first, Math.min(left + wide + halo, columns) - begin];
      const window = new Float32Array(most * broad);
      for (let row = first; row < Math.min(first + most, image.rows); row++) {
        const from = row * image.columns;
        window.set(image.data.subarray(from + begin, from + Math.min(begin + broad, image.columns)), (row - first) * broad);
      }
      const found = await run(network, window, [1, 1, most, broad]);
      const keep = (to, values, unit) => {
        const width = broad / unit, end = Math.min((left + wide) / unit, to.columns);
        for (let row = top / unit; row < Math.min((top + high) / unit, to.rows); row++) {
          const from = (row - first / unit) * width - begin / unit;
          to.data.set(values.subarray(from + left / unit, from + end), row * to.columns + left / unit);
        }
      };
      keep(probability, found.probability, 1);
      keep(map, found.count_map, stride);
      advance?.(1 / number);
    }
  }
  return { probability, map, cells: sumOf(map.data) };
}

// ---- At which scale

class Looks {
  constructor(image, stained, told) {
    Object.assign(this, { image, stained, told });
    this.taken = new Map();
  }

  fits(scale) {
    const [rows, columns] = scaledShape(this.image, scale);
    return Math.min(rows, columns) >= rules.least_side && (scale <= 1 || rows * columns <= rules.most_enlarged);
  }

  window(scale) {
    const part = Math.min(1, Math.sqrt(rules.window / (this.image.rows * this.image.columns * scale ** 2)));
    return [this.image.rows, this.image.columns].map((side) => Math.max(1, roundToEven(side * part)));
  }

  async look(scale) {
    scale = Number(scale.toFixed(6));
    if (!this.taken.has(scale)) {
      this.told(`looking at it at scale ${Number(scale.toPrecision(2))}`);
      const [rows, columns] = this.window(scale), window = imageOf(rows, columns);
      const [top, left] = [this.image.rows - rows >> 1, this.image.columns - columns >> 1];
      for (let row = 0; row < rows; row++) {
        const from = (top + row) * this.image.columns + left;
        window.data.set(this.image.data.subarray(from, from + columns), row * columns);
      }
      const seen = resize(window, ...scaledShape(window, scale)), found = await predict(seen);
      const whole = rows === this.image.rows && columns === this.image.columns;
      this.taken.set(scale, { seen, found, density: found.cells / seen.data.length, whole: whole ? found : null });
    }
    return this.taken.get(scale);
  }

  // All of the place but what takes a second look.
  async place(scale) {
    const look = await this.look(scale);
    look.place ??= placeOf(look.seen, look.found.probability, look.found.cells, this.stained);
    if (!this.fits(scale * rules.smaller)) return look.place;
    const [rows, columns] = this.window(scale), pixels = rows * columns * scale ** 2;
    const smaller = (await this.look(scale * rules.smaller)).density * rules.smaller ** 2 * pixels;
    const ratio = Math.log((smaller + rules.few) / (look.density * pixels + rules.few));
    return { ...look.place, smaller: ratio };
  }
}

// The scale that suits an image: its own size, unless it is far there and near to known ones at another.
async function scaleFor(looks, fixed) {
  const first = fixed ?? 1, own = distanceOf(await looks.place(first));
  if (own <= rules.known.far || fixed !== null) return { scale: first, own: false };
  const scanned = [];
  for (const scale of rules.grid) {
    if (looks.fits(scale)) scanned.push({ scale, distance: distanceOf(await looks.place(scale)) });
  }
  const best = scanned.reduce((one, other) => (other.distance < one.distance ? other : one), { scale: 1, distance: Infinity });
  const suits = best.distance <= Math.min(rules.known.near, rules.much_nearer * own) && best.scale !== 1;
  return suits ? { scale: best.scale, own: true } : { scale: 1, own: false };
}

// ---- One image

// The channel that is counted as planes for the graph, and its values as read.
function planesOf({ rows, columns, samples, pixels }, channel) {
  const number = rows * columns;
  if (samples === 1) {
    if (channel !== "auto" && channel !== "luminance") refuse("is grey, with one channel: leave the channel open");
    return { data: Float32Array.from(pixels), channels: 1, read: pixels };
  }
  const all = new Float32Array(3 * number);
  for (let k = 0, from = 0; k < number; k++) for (let sample = 0; sample < 3; sample++, from++) all[sample * number + k] = pixels[from];
  if (channel === "auto") return { data: all, channels: 3, read: pixels };
  const planes = [0, 1, 2].map((sample) => all.slice(sample * number, (sample + 1) * number)), [red, green, blue] = planes;
  const data = channel === "luminance"
    ? green.map((value, k) => value + 0.299 * (red[k] - value) + 0.114 * (blue[k] - value)) : planes[channel - 1];
  return { data, channels: 1, read: data };
}

// Numbers of pixels by which an image is judged; of colour, a pixel is clipped if one of its samples is.
function tallyOf(read, channels, mask, probability) {
  let top = 0, clipped = 0, clippedInside = 0, maybe = 0, sure = 0;
  for (const value of read) if (value > top) top = value;
  const number = read.length / channels, ceiling = rules.ceilings.includes(top);
  for (let k = 0; k < number && ceiling; k++) {
    let reached = false;
    for (let sample = 0; sample < channels; sample++) reached ||= read[channels * k + sample] === top;
    clipped += reached;
    clippedInside += reached && (mask?.data[k] ?? 0);
  }
  for (const chance of probability?.data ?? []) { maybe += chance > rules.doubt[0]; sure += chance > rules.doubt[1]; }
  const inside = mask ? sumOf(mask.data) : null, share = clippedInside / inside;
  const saturated = inside ? share > rules.saturated_share && share >= clipped / number : clipped / number > rules.saturated_share;
  return { empty: inside === 0, saturated: ceiling && saturated, unsure: inside !== 0 && maybe - sure > rules.doubtful_share * maybe };
}

function flagsOf(tally, appearance, far, remarks) {
  const { training, factor, room } = rules, known = (name) => name in appearance && name in training;
  const below = (name, by) => known(name) && appearance[name] < training[name][0] / by;
  const above = (name, by) => known(name) && appearance[name] > training[name][1] * by;
  const turned = known("darkness")
    && (appearance.darkness > training.darkness[1] + room || appearance.darkness < training.darkness[0] - room);
  const found = {
    blurred: below("sharpness", 1),
    saturated: tally.saturated,
    "low-contrast": (appearance.contrast ?? Infinity) < rules.least_contrast,
    empty: tally.empty,
    crowded: above("density", factor) || above("clumped", 1),
    "object-size": remarks.own || below("diameter", factor) || above("diameter", factor),
    "unlike-training": turned || (far ?? below("agreement", factor)),
    unsure: tally.unsure,
    uneven: remarks.uneven,
    debris: remarks.debris,
  };
  return Object.keys(found).filter((name) => found[name]);
}

function intervalOf(estimate, doubt) {
  const { quantile, near_enough, doubt_share, and_cells } = rules.calibration, cells = Math.max(0, estimate);
  const spread = Math.sqrt(cells + 1) + doubt_share * Math.max(doubt - near_enough, 0) * (cells + and_cells);
  return [Math.max(0, cells - quantile * spread), cells + quantile * spread];
}

async function count(file, settings, told) {
  told("reading it");
  const image = await readImage(file), { rows, columns } = image;
  const { data, channels, read } = planesOf(image, settings.channel);
  told("measuring its background");
  const seen = await run(sees, data, [1, channels, rows, columns]);
  const [stained, bright, debris, uneven] = seen.told.map((value) => value > 0.5);
  const stains = channels === 3 && !stained ? stainsIn(image) : [];
  if (stains.length) {
    const names = stains.map((k) => ["red", "green", "blue"][k - 1]).join(" and ");
    refuse(`shows several stains, in ${names}: choose one channel`);
  }
  const normalised = imageOf(rows, columns, seen.normalised), levelled = imageOf(rows, columns, seen.levelled);

  const typed = settings.scale === "auto" ? null : settings.scale;
  const looks = rules.known && new Looks(normalised, stained, told);
  const { scale, own } = looks ? await scaleFor(looks, typed) : { scale: typed ?? 1, own: false };
  const place = looks && await looks.place(scale), distance = looks && leastDistance(place, true);
  const far = looks ? distance > rules.known.far : null;
  const doubt = looks ? leastDistance(place, false) / Math.max(rules.known.near, 1e-9) : 0;

  let share = 0;
  const advance = (part) => told(`counting: ${Math.round(100 * (share += part))} %`);
  const resized = resize(normalised, ...scaledShape(normalised, scale));
  const found = looks?.taken.get(Number(scale.toFixed(6)))?.whole ?? await predict(resized, advance);
  told("telling the cells apart");
  const kept = rules.view, sameScale = (kept.scale === "auto" && looks) || Math.abs(scale - kept.factor) <= 0.01 * Math.max(scale, kept.factor);
  const sameChannel = kept.channel === null || String(kept.channel) === String(settings.channel);
  const calibrated = Boolean(rules.calibration && !far && sameScale && sameChannel);
  const gain = calibrated ? rules.calibration.gain : 1;
  const countMap = rules.counts ? redistribute(imageOf(found.map.rows, found.map.columns, found.map.data.map((cells) => cells * gain)), resized, normalised) : null;
  const estimate = countMap && Math.round(100 * sumOf(countMap.data)) / 100;
  if (!Number.isFinite(estimate ?? 0)) refuse("has values that the network gives no number for: use elmgan");
  let probability = null, mask = null;
  if (rules.segments) {
    probability = resize(found.probability, rows, columns);
    const blank = estimate !== null && estimate < 0.5;
    mask = imageOf(rows, columns, new Uint8Array(rows * columns));
    if (!blank) for (let k = 0; k < mask.data.length; k++) mask.data[k] = probability.data[k] >= rules.threshold;
  }
  const appearance = appearanceOf(levelled, normalised, !bright, mask, estimate, scale);
  if (rules.training.clumped && mask && countMap) appearance.clumped = clumpedShare(mask, countMap);
  const tally = tallyOf(read, read.length / (rows * columns), mask, probability);
  const cells = mask && separate(mask, countMap);
  const interval = estimate !== null && calibrated && !own && rules.calibration.quantile !== null ? intervalOf(estimate, doubt) : null;
  const row = {
    image: file.name,
    channel: stained && settings.channel === "auto" ? "haematoxylin" : settings.channel === "auto" ? "" : String(settings.channel),
    count: estimate === null ? null : Math.floor(estimate + 0.5),
    estimate,
    low: interval && interval[0],
    high: interval && interval[1],
    objects: cells && cells.number,
    foreground: mask && sumOf(mask.data) / mask.data.length,
    flags: flagsOf(tally, appearance, far, { own, uneven, debris }),
    scale: Math.round(1e4 * scale) / 1e4,
    height: rows,
    width: columns,
  };
  return { row, border: hasLongBorder(image), ...(await pictures(image, levelled, cells)) };
}

// The image as a JPEG, and the outlines as a PNG to lie upon it; large ones at every so many pixels.
async function pictures({ rows, columns, samples, bits, pixels }, levelled, cells) {
  const step = Math.ceil(Math.max(rows, columns) / 2048), [high, wide] = [rows, columns].map((side) => Math.ceil(side / step));
  const shown = new ImageData(wide, high);
  let low = 0, reach = (1 << bits) - 1;
  if (samples === 1) {
    const some = levelled.data.filter((_, k) => k % Math.ceil(levelled.data.length / 1e5) === 0).sort();
    low = some[Math.floor(0.002 * (some.length - 1))];
    reach = Math.max(some[Math.ceil(0.998 * (some.length - 1))] - low, 1e-9);
  }
  for (let row = 0, to = 0; row < rows; row += step) {
    for (let column = 0; column < columns; column += step, to += 4) {
      const at = row * columns + column;
      for (let k = 0; k < 3; k++) shown.data[to + k] = 255 * ((samples === 1 ? levelled.data[at] : pixels[3 * at + k]) - low) / reach;
      shown.data[to + 3] = 255;
    }
  }
  const canvas = new OffscreenCanvas(wide, high), context = canvas.getContext("2d");
  context.putImageData(shown, 0, 0);
  const picture = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
  if (!cells) return { picture, outlines: null };
  context.clearRect(0, 0, wide, high);
  context.strokeStyle = "#ff8000";
  context.lineWidth = Math.max(1.5, wide / 600);
  drawOutlines(context, cells.labels, rows, columns, 1 / step);
  return { picture, outlines: await canvas.convertToBlob({ type: "image/png" }) };
}

// ---- What the page asks for

onmessage = async ({ data }) => {
  const { kind, id } = data;
  try {
    if (kind === "start") {
      await start(data.parts);
      postMessage({ kind: "ready" });
    } else {
      const begun = performance.now();
      const found = await count(data.file, data.settings, (doing) => postMessage({ kind: "doing", id, doing }));
      postMessage({ kind: "counted", id, seconds: (performance.now() - begun) / 1000, ...found });
    }
  } catch (error) {
    const told = error instanceof Refused ? error.message : null;
    postMessage({ kind: "failed", id, told, error: String(error?.message ?? error) });
  }
};
