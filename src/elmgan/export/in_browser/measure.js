// What is measured of an image and its mask, as elmgan measures it. `rules` has elmgan's own numbers.
// An image is { rows, columns, data }, rows one after the other.

const imageOf = (rows, columns, data) => ({ rows, columns, data: data ?? new Float32Array(rows * columns) });

const clamped = (value, length) => Math.min(Math.max(value, 0), length - 1);

const scaledShape = (image, scale) => [image.rows, image.columns].map((side) => Math.max(1, roundToEven(side * scale)));

function roundToEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest === 0.5 ? below + (below % 2) : Math.round(value);
}

// For each of `to` pixels along a side: which of `from` it is made of, and how much of each.
function weights(from, to, mean) {
  const ratio = from / to;
  return Array.from({ length: to }, (_, k) => {
    if (!mean) {
      const place = Math.min(Math.max((k + 0.5) * ratio - 0.5, 0), from - 1), below = Math.min(Math.floor(place), Math.max(from - 2, 0));
      return [[below, 1 - (place - below)], [clamped(below + 1, from), place - below]];
    }
    const [begin, end] = [k * ratio, Math.min((k + 1) * ratio, from)], parts = [];
    for (let at = Math.floor(begin); at < end; at++) {
      const part = Math.min(at + 1, end) - Math.max(at, begin);
      if (part > 1e-9) parts.push([at, part / (end - begin)]);
    }
    return parts;
  });
}

// Mean values where an image shrinks, linear where it grows.
function resize(image, rows, columns) {
  if (image.rows === rows && image.columns === columns) return image;
  const mean = rows * columns < image.rows * image.columns;
  const narrow = imageOf(image.rows, columns), resized = imageOf(rows, columns);
  const across = weights(image.columns, columns, mean);
  for (let row = 0; row < image.rows; row++) {
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (const [from, weight] of across[column]) sum += weight * image.data[row * image.columns + from];
      narrow.data[row * columns + column] = sum;
    }
  }
  for (const [row, parts] of weights(image.rows, rows, mean).entries()) {
    for (const [from, weight] of parts) {
      for (let column = 0; column < columns; column++) {
        resized.data[row * columns + column] += weight * narrow.data[from * columns + column];
      }
    }
  }
  return resized;
}

// Where the values of a count map begin along a side, and where the last one ends.
const edgesOf = (side, unit = 1) => [...Array(Math.ceil(side / rules.stride)).keys()].map((k) => k * rules.stride * unit).concat(side * unit);

// The count map of a resized image for the image itself: every value is spread over what it stands for.
function redistribute(map, was, image) {
  if (was.rows === image.rows && was.columns === image.columns) return map;
  const shares = (from, to) => {
    const [before, after] = [edgesOf(from, to / from), edgesOf(to)];
    return before.slice(0, -1).map((begin, k) => {
      const length = before[k + 1] - begin, parts = [];
      for (let at = Math.min(Math.floor(begin / rules.stride), after.length - 2); at < after.length - 1 && after[at] < before[k + 1]; at++) {
        parts.push([at, Math.max(0, Math.min(after[at + 1], before[k + 1]) - Math.max(after[at], begin)) / length]);
      }
      return parts;
    });
  };
  const spread = imageOf(...[image.rows, image.columns].map((side) => Math.ceil(side / rules.stride)));
  const across = shares(was.columns, image.columns);
  for (const [row, down] of shares(was.rows, image.rows).entries()) {
    for (let column = 0; column < map.columns; column++) {
      for (const [to, high] of down) {
        for (const [at, wide] of across[column]) spread.data[to * spread.columns + at] += map.data[row * map.columns + column] * high * wide;
      }
    }
  }
  return spread;
}

// Cells per pixel of the mask, one value for 4 x 4 pixels.
function densityOf(map, mask) {
  const held = new Int32Array(map.data.length);
  for (let row = 0, k = 0; row < mask.rows; row++) {
    for (let column = 0; column < mask.columns; column++, k++) {
      held[Math.floor(row / rules.stride) * map.columns + Math.floor(column / rules.stride)] += mask.data[k];
    }
  }
  return imageOf(map.rows, map.columns, map.data.map((cells, k) => cells / Math.max(held[k], 1)));
}

const sumOf = (values) => { let sum = 0; for (const value of values) sum += value; return sum; };

// Mean distance of a mask's pixels to its edge, by the steps of OpenCV's 5 x 5 mask.
function meanDepth({ rows, columns, data }) {
  const wide = columns + 4, far = 1e6, depth = new Float32Array((rows + 4) * wide).fill(far);
  const inside = [];
  for (let row = 0, k = 0; row < rows; row++) {
    for (let column = 0, at = (row + 2) * wide + 2; column < columns; column++, k++, at++) {
      if (data[k]) inside.push(at); else depth[at] = 0;
    }
  }
  const [beside, diagonal, knight] = [1, 1.4, 2.1969];
  for (const way of [1, -1]) {
    const [one, two] = [way * wide, 2 * way * wide];
    for (let k = 0; k < inside.length; k++) {
      const at = inside[way > 0 ? k : inside.length - 1 - k];
      depth[at] = Math.min(depth[at], Math.min(depth[at - way], depth[at - one]) + beside,
        Math.min(depth[at - one - way], depth[at - one + way]) + diagonal,
        Math.min(depth[at - one - 2 * way], depth[at - one + 2 * way], depth[at - two - way], depth[at - two + way]) + knight);
    }
  }
  let sum = 0;
  for (const at of inside) sum += depth[at];
  return sum / inside.length;
}

// A mask whose pixels of a value grow by a disc of two pixels; what lies beyond the image changes nothing.
function dilated({ rows, columns, data }, value = 1) {
  const found = new Uint8Array(data);
  for (let row = 0, k = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, k++) {
      // What the disc of an inner pixel reaches, that of one beside another value reaches too.
      if (data[k] !== value || !((row && data[k - columns] !== value) || (row < rows - 1 && data[k + columns] !== value)
        || (column && data[k - 1] !== value) || (column < columns - 1 && data[k + 1] !== value))) continue;
      for (const [down, right] of rules.disc) {
        const [r, c] = [row + down, column + right];
        if (r >= 0 && r < rows && c >= 0 && c < columns) found[r * columns + c] = value;
      }
    }
  }
  return found;
}

const stepOf = (image) => Math.ceil(Math.sqrt(image.rows * image.columns / rules.most_pixels));

const deviationOf = (values) => {
  const mean = sumOf(values) / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) ** 2;
  return Math.sqrt(squares / values.length);
};

// Second difference along rows and columns, where only noise is left.
function detailAt(image, row, column) {
  let sum = 0;
  for (let down = -1; down <= 1; down++) {
    for (let right = -1; right <= 1; right++) {
      const at = clamped(row + down, image.rows) * image.columns + clamped(column + right, image.columns);
      sum += image.data[at] * (down ? -1 : 2) * (right ? -1 : 2);
    }
  }
  return sum;
}

// Measures by which an image is judged; `levelled` are the grey values that `normalised` was made of.
function appearanceOf(levelled, normalised, falls, mask, cells, scale) {
  const found = {};
  if (cells !== null) found.density = cells / (levelled.rows * levelled.columns * scale ** 2) * 1e6;
  const inside = mask ? sumOf(mask.data) : 0;
  if (mask && !inside) return found;
  const step = stepOf(levelled), sampled = [], places = [];
  for (let row = 0; row < levelled.rows; row += step) {
    for (let column = 0; column < levelled.columns; column += step) {
      places.push([row, column]);
      sampled.push(normalised.data[row * levelled.columns + column]);
    }
  }
  const below = sampled.filter((value) => value < -rules.stands_out).length;
  const above = sampled.filter((value) => value > rules.stands_out).length;
  if (below + above) found.darkness = (falls ? above : below) / (below + above);
  if (!mask || inside === mask.data.length) return found;
  found.diameter = 6 * (meanDepth(mask) - 0.5) * scale;
  const deviation = deviationOf(sampled);
  if (!deviation) return found;
  const index = places.map(([row, column]) => row * levelled.columns + column);
  const cell = sampled.filter((_, k) => mask.data[index[k]]), other = sampled.filter((_, k) => !mask.data[index[k]]);
  const share = cell.length / sampled.length, mean = (values) => (values.length ? sumOf(values) / values.length : 0);
  found.agreement = Math.abs(mean(cell) - mean(other)) * Math.sqrt(share * (1 - share)) / deviation;

  const grown = dilated(mask), core = dilated(mask, 0);
  const sums = new Float64Array(4), numbers = new Float64Array(4), [INSIDE, OUTSIDE, CORE, RIM] = [0, 1, 2, 3];
  const put = (part, value) => { sums[part] += value; numbers[part]++; };
  for (let k = 0; k < mask.data.length; k++) {
    const value = levelled.data[k];
    put(mask.data[k] ? INSIDE : OUTSIDE, value);
    if (mask.data[k] && !core[k]) put(CORE, value);
    else if (!mask.data[k] && grown[k]) put(RIM, value);
  }
  const average = (part) => (numbers[part] ? sums[part] / numbers[part] : 0);
  const height = average(INSIDE) - average(OUTSIDE);
  if (!height) return found;
  found.sharpness = (average(CORE) - average(RIM)) / rules.rim / height / scale;
  const still = places.filter((_, k) => !grown[index[k]]).map(([row, column]) => detailAt(levelled, row, column));
  const noise = still.length ? deviationOf(still) / rules.detail_gain : 0;
  if (noise > 0) found.contrast = Math.abs(height) / noise;
  return found;
}

// The place of an image, as the network sees it, among those that the model knows.
function placeOf(image, probability, cells, stained) {
  const number = image.data.length, mask = imageOf(image.rows, image.columns, new Uint8Array(number));
  let outside = 0, marked = 0, below = 0, beyond = 0, maybe = 0, sure = 0, within = 0, sum = 0;
  for (let k = 0; k < number; k++) {
    const [value, chance] = [image.data[k], probability.data[k]];
    const cell = cells >= 0.5 && chance >= rules.threshold;
    mask.data[k] = cell;
    if (value > rules.signal || cell) marked++;
    if (value > rules.signal && !cell) outside++;
    if (value < rules.under) below++;
    if (Math.abs(value) > rules.little) beyond++;
    if (chance > rules.doubt[0]) maybe++;
    if (chance > rules.doubt[1]) sure++;
    if (cell) { within++; sum += chance; }
  }
  const measured = appearanceOf(image, image, false, mask, cells, 1);
  const place = {
    outside: outside / Math.max(marked, 1),
    below: below / number,
    unsure: (maybe - sure) / Math.max(maybe, 1),
    density: Math.log(measured.density + 20),
    deviation: deviationOf(image.data),
    beyond: beyond / number,
    stained: Number(stained),
  };
  if (within) place.inside = sum / within;
  for (const name of ["diameter", "contrast"]) if (measured[name] > 0) place[name] = Math.log(measured[name]);
  return place;
}

// How far a place is from the nearest of these, which are in units of each measure's spread.
function distanceTo(rows, place, far = () => true) {
  const { measures, middle, unit } = rules.known;
  const own = measures.map((name, k) => (name in place ? (place[name] - middle[k]) / unit[k] : NaN));
  const distances = rows.map((row) => {
    let sum = 0, number = 0;
    for (const [k, value] of row.entries()) {
      if (value !== null && !Number.isNaN(own[k])) { sum += (value - own[k]) ** 2; number++; }
    }
    return number ? Math.sqrt(sum / number) : Infinity;
  }).filter(far).sort((one, other) => one - other).slice(0, rules.nearest);
  return distances.length ? sumOf(distances) / distances.length : Infinity;
}

const distanceOf = (place) => distanceTo(rules.known.images, place);

function leastDistance(place, itself) {
  const { calibrated } = rules.known;
  const near = distanceTo(calibrated, place, itself ? undefined : (distance) => distance > rules.same_place);
  return Math.min(distanceOf(place), near);
}

// Channels of colour, from 1, that show different things on a dark ground; as elmgan's `stains_in`.
function stainsIn(image) {
  const { rows, columns, pixels } = image, step = Math.max(1, roundToEven(Math.sqrt(rows * columns / rules.colour_pixels)));
  const seen = [[], [], []];
  for (let row = 0; row < rows; row += step) {
    for (let column = 0; column < columns; column += step) {
      for (let k = 0; k < 3; k++) seen[k].push(pixels[3 * (row * columns + column) + k]);
    }
  }
  const number = seen[0].length;
  if (number < 2 || seen[0].every((value, k) => value === seen[1][k] && value === seen[2][k])) return [];
  const sorted = seen.map((values) => Float64Array.from(values).sort()), end = Math.floor(number / 200);
  const ground = sorted.map(densest), lowest = sorted.map((values) => values[end]);
  const bright = sorted.map((values) => values[number - 1 - end]);
  const above = bright.map((value, k) => value - ground[k]), most = Math.max(...above);
  const shown = [0, 1, 2].filter((k) => above[k] > rules.bleed * most);
  const reach = Math.max(...bright.map((value, k) => value - lowest[k]));
  if (ground.some((value, k) => value - lowest[k] > rules.dark * reach) || shown.length < 2) return [];
  const parts = shown.map((k) => seen[k].map((value) => Math.min(Math.max((value - ground[k]) / above[k], -1), 1.5)));
  const alike = (one, other) => {
    const [a, b] = [sumOf(one) / number, sumOf(other) / number];
    let both = 0, first = 0, second = 0;
    for (let k = 0; k < number; k++) {
      both += (one[k] - a) * (other[k] - b);
      first += (one[k] - a) ** 2;
      second += (other[k] - b) ** 2;
    }
    return both / Math.sqrt(first * second);
  };
  const least = Math.min(...parts.flatMap((one, k) => parts.slice(k + 1).map((other) => alike(one, other))));
  const colours = new Set(seen[0].map((value, k) => `${value},${seen[1][k]},${seen[2][k]}`)).size;
  return least >= rules.different || colours <= rules.palette ? [] : shown.map((k) => k + 1);
}

// The middle of the shortest interval that holds a quarter of sorted values.
function densest(values) {
  const length = roundToEven(0.25 * (values.length - 1)), shortest = [];
  let least = Infinity;
  for (let k = 0; k + length < values.length; k++) {
    const width = values[k + length] - values[k];
    if (width < least) { least = width; shortest.length = 0; }
    if (width === least) shortest.push(k);
  }
  const [first, last] = [shortest[shortest.length - 1 >> 1], shortest[shortest.length >> 1]];
  return (values[first + (length >> 1)] + values[last + (length + 1 >> 1)]) / 2;
}

// Whether the border has one value for long, which may be a margin without data.
function hasLongBorder({ rows, columns, samples, pixels }) {
  const line = (length, at) => {
    let run = 1, most = 1;
    for (let k = 1; k < length; k++) {
      let same = true;
      for (let s = 0; s < samples; s++) same &&= pixels[samples * at(k) + s] === pixels[samples * at(k - 1) + s];
      run = same ? run + 1 : 1;
      most = Math.max(most, run);
    }
    return most;
  };
  const longest = Math.max(line(columns, (k) => k), line(columns, (k) => (rows - 1) * columns + k),
    line(rows, (k) => k * columns), line(rows, (k) => (k + 1) * columns - 1));
  return longest >= Math.max(rules.least_run, rules.share_of_side * Math.min(rows, columns));
}
