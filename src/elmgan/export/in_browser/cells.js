// The cells of a mask, told apart by their shape and by how many the count map says they are, as elmgan's
// counting/separation.py and counting/hills.py do.

// Distances to the background, up to a farthest one: along the columns, then along each stretch of a row.
function distancesOf(mask) {
  const { rows, columns, data } = mask, far = rules.farthest;
  const down = new Float64Array(rows * columns), found = new Float32Array(rows * columns);
  for (let pass = 0; pass < 2; pass++) {
    for (let k = 0; k < rows; k++) {
      const from = (pass ? rows - 1 - k : k) * columns, before = from + (pass ? columns : -columns);
      for (let at = from; at < from + columns; at++) {
        const run = data[at] ? Math.min(k ? down[before + at - from] + 1 : far, far) : 0;
        down[at] = pass ? Math.min(down[at], run) : run;
      }
    }
  }
  const place = new Int32Array(columns), begins = new Float64Array(columns);  // parabolas that are lowest, and from where
  for (let row = 0; row < rows; row++) {
    const from = row * columns;
    const crossing = (one, other) => (down[from + other] ** 2 - down[from + one] ** 2 + other * other - one * one) / (2 * (other - one));
    for (let column = 0; column < columns; column++) {
      if (!data[from + column]) continue;
      // A stretch of the mask, with the pixels of the background at its ends; what lies beyond them is farther.
      const first = Math.max(column - 1, 0);
      while (column < columns && data[from + column]) column++;
      const end = Math.min(column, columns - 1);
      let last = 0;
      place[0] = first;
      begins[0] = -Infinity;
      for (let at = first + 1; at <= end; at++) {
        while (last >= 0 && crossing(place[last], at) <= begins[last]) last--;
        last++;
        place[last] = at;
        begins[last] = last ? crossing(place[last - 1], at) : -Infinity;
      }
      for (let at = first, k = 0; at <= end; at++) {
        while (k < last && begins[k + 1] < at) k++;
        found[from + at] = Math.min(Math.sqrt((at - place[k]) ** 2 + down[from + place[k]] ** 2), far);
      }
    }
  }
  return found;
}

// The smoothed distance to the background where the mask is, with a margin of one pixel.
function heightsOf(mask) {
  const { rows, columns } = mask, reach = 4;
  const kernel = Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-((k - reach) ** 2) / (2 * rules.smoothing ** 2)));
  const total = sumOf(kernel);
  const mirrored = (k, length) => {
    while (length > 1 && (k < 0 || k >= length)) k = k < 0 ? -k : 2 * length - 2 - k;
    return length > 1 ? k : 0;
  };
  const distance = distancesOf(mask);
  const along = Array.from({ length: columns + 2 * reach }, (_, k) => mirrored(k - reach, columns));
  const across = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    let next = -1;  // the last pixel so far beyond which the mask is in reach
    for (let column = 0; column < columns; column++) {
      if (distance[row * columns + along[column + 2 * reach]]) next = column + 2 * reach;
      if (column > next && column > reach) continue;
      let sum = 0;
      for (let k = 0; k <= 2 * reach; k++) sum += kernel[k] * distance[row * columns + along[column + k]];
      across[row * columns + column] = sum / total;
    }
  }
  const found = imageOf(rows + 2, columns + 2);
  for (let row = 0; row < rows; row++) {
    const lines = Array.from({ length: 2 * reach + 1 }, (_, k) => mirrored(row + k - reach, rows) * columns);
    for (let column = 0; column < columns; column++) {
      if (!mask.data[row * columns + column]) continue;
      let sum = 0;
      for (let k = 0; k <= 2 * reach; k++) sum += kernel[k] * across[lines[k] + column];
      found.data[(row + 1) * (columns + 2) + column + 1] = sum / total;
    }
  }
  return found;
}

// -> { labels: one number per pixel of the mask, 0 for none; number }
function separate(mask, countMap) {
  const { rows, columns } = mask, wide = columns + 2, { data: height } = heightsOf(mask);
  const up = new Int32Array(height.length), pixels = [];
  const around = [-wide - 1, -wide, -wide + 1, -1, 0, 1, wide - 1, wide, wide + 1];
  for (let row = 1; row <= rows; row++) {
    for (let pixel = row * wide + 1; pixel <= row * wide + columns; pixel++) {
      if (!height[pixel]) continue;
      pixels.push(pixel);
      let best = pixel, highest = 0;
      for (const step of around) if (height[pixel + step] >= highest) { best = pixel + step; highest = height[best]; }
      up[pixel] = best;
    }
  }
  const part = new Int32Array(height.length), tops = [0];
  for (const pixel of pixels) if (up[pixel] === pixel) { part[pixel] = tops.length; tops.push(height[pixel]); }
  for (const pixel of pixels) {
    let top = pixel;
    while (!part[top]) top = up[top];
    for (let at = pixel; !part[at]; at = up[at]) part[at] = part[top];
  }

  let shares = null;
  if (countMap) {
    const density = densityOf(countMap, mask);
    shares = new Float64Array(tops.length);
    for (const pixel of pixels) {
      const [row, column] = [Math.floor(pixel / wide) - 1, pixel % wide - 1];
      shares[part[pixel]] += density.data[Math.floor(row / rules.stride) * density.columns + Math.floor(column / rules.stride)];
    }
  }

  // The highest way between each two parts; of equal ones the first.
  const least = rules.neck - (shares ? rules.weight : 0), ways = new Map();
  for (const [k, step] of [1, wide - 1, wide, wide + 1].entries()) {
    for (const pixel of pixels) {
      const [here, there] = [part[pixel], part[pixel + step]];
      if (here === there || !there) continue;
      const neck = Math.min(height[pixel], height[pixel + step]);
      if (neck <= least * Math.min(tops[here], tops[there])) continue;
      const pair = Math.min(here, there) * tops.length + Math.max(here, there), known = ways.get(pair);
      if (!known || neck > known.neck) ways.set(pair, { neck, here, there, order: k * height.length + pixel });
    }
  }
  const joined = Int32Array.from(tops, (_, k) => k);
  const top = (k) => { while (joined[k] !== k) k = joined[k]; return k; };
  for (const { neck, here, there } of [...ways.values()].sort((a, b) => b.neck - a.neck || a.order - b.order)) {
    const [one, other] = [top(here), top(there)], [low, high] = tops[one] <= tops[other] ? [one, other] : [other, one];
    const two = shares ? Math.min(2 * shares[low] * shares[high] - 1, 1) : 0;
    if (low === high || neck <= (rules.neck + rules.weight * two) * tops[low]) continue;
    joined[low] = high;
    if (shares) shares[high] += shares[low];
  }
  const names = new Int32Array(tops.length), labels = new Int32Array(rows * columns);
  let number = 0;
  for (const pixel of pixels) {
    const cell = top(part[pixel]);
    if (shares && shares[cell] < rules.crumb) continue;
    if (!names[cell]) names[cell] = ++number;
    labels[(Math.floor(pixel / wide) - 1) * columns + pixel % wide - 1] = names[cell];
  }
  return { labels, number };
}

// Share of the cells that lie in pieces of the mask with more than two.
function clumpedShare(mask, countMap) {
  const { rows, columns, data } = mask, density = densityOf(countMap, mask);
  const seen = new Uint8Array(data.length), todo = [];
  let all = 0, clumped = 0;
  for (let first = 0; first < data.length; first++) {
    if (!data[first] || seen[first]) continue;
    let cells = 0;
    seen[first] = 1;
    todo.push(first);
    while (todo.length) {
      const pixel = todo.pop(), [row, column] = [Math.floor(pixel / columns), pixel % columns];
      cells += density.data[Math.floor(row / rules.stride) * density.columns + Math.floor(column / rules.stride)];
      for (let r = Math.max(row - 1, 0); r <= Math.min(row + 1, rows - 1); r++) {
        for (let c = Math.max(column - 1, 0); c <= Math.min(column + 1, columns - 1); c++) {
          const next = r * columns + c;
          if (data[next] && !seen[next]) { seen[next] = 1; todo.push(next); }
        }
      }
    }
    all += cells;
    if (cells > rules.no_clump) clumped += cells;
  }
  return all > 0 ? clumped / all : 0;
}

// Draws the lines between pixels of different cells.
function drawOutlines(context, labels, rows, columns, zoom) {
  const at = (row, column) => (row < 0 || column < 0 || row >= rows || column >= columns ? 0 : labels[row * columns + column]);
  context.beginPath();
  for (let row = 0; row <= rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (at(row - 1, column) === at(row, column)) continue;
      const begin = column;
      while (column < columns && at(row - 1, column) !== at(row, column)) column++;
      context.moveTo(begin * zoom, row * zoom);
      context.lineTo(column * zoom, row * zoom);
    }
  }
  for (let column = 0; column <= columns; column++) {
    for (let row = 0; row < rows; row++) {
      if (at(row, column - 1) === at(row, column)) continue;
      const begin = row;
      while (row < rows && at(row, column - 1) !== at(row, column)) row++;
      context.moveTo(column * zoom, begin * zoom);
      context.lineTo(column * zoom, row * zoom);
    }
  }
  context.stroke();
}
