// Pixels of a file as they are stored. PNG and TIFF are read here, for a browser would reduce 16 bits to 8 and apply
// colours; JPEG is unpacked by the browser. What is not read properly is refused with a sentence.

class Refused extends Error {}

const refuse = (sentence) => { throw new Refused(sentence); };

const MOST_PIXELS = 1 << 25;

// -> { rows, columns, samples (1 or 3), bits (8 or 16), pixels }, a pixel's samples beside each other.
async function readImage(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const begins = (...start) => start.every((byte, k) => bytes[k] === byte);
  if (begins(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10)) return readPng(bytes);
  if (begins(0x49, 0x49, 42, 0) || begins(0x4d, 0x4d, 0, 42)) return readTiff(bytes);
  if (begins(0xff, 0xd8, 0xff)) return readJpeg(bytes, file);
  if (begins(0x49, 0x49, 43, 0) || begins(0x4d, 0x4d, 0, 43)) refuse("is a BigTIFF: save it as a plain TIFF");
  return refuse("is no PNG, JPEG or TIFF: save the image as one of these");
}

function checkSize(rows, columns) {
  if (!(rows > 0 && columns > 0)) refuse("has no pixels: save it again");
  if (rows * columns > MOST_PIXELS) {
    const most = Math.round(MOST_PIXELS / 1e6);
    refuse(`has ${Math.round(rows * columns / 1e6)} million pixels: this page takes ${most}, so cut it, or use elmgan`);
  }
}

// Unpacks zlib's format to so many bytes. What follows the data is an error to browsers and none to TIFF.
async function inflated(parts, length) {
  const unpacked = new Uint8Array(length);
  let filled = 0;
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  try {
    while (filled < length) {
      const { done, value } = await reader.read();
      if (done) break;
      unpacked.set(value.subarray(0, length - filled), filled);
      filled += value.length;
    }
  } catch { /* told below */ }
  reader.cancel().catch(() => {});
  if (filled < length) refuse("is damaged or cut off: save it again");
  return unpacked;
}

// ---- PNG

const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

async function readPng(bytes) {
  const view = new DataView(bytes.buffer);
  const packed = [];
  let header = null, palette = null, ended = false;
  for (let at = 8; at + 12 <= bytes.length && !ended;) {
    const length = view.getUint32(at), name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (data.length < length) break;
    if (name === "IHDR" && length === 13) {
      const [columns, rows] = [view.getUint32(at + 8), view.getUint32(at + 12)];
      header = { columns, rows, bits: data[8], colour: data[9], interlaced: data[12] };
    } else if (name === "PLTE") palette = data;
    else if (name === "IDAT") packed.push(data);
    else if (name === "acTL") refuse("is an animation: save one picture of it");
    ended = name === "IEND";
    at += length + 12;
  }
  if (!header || !ended || !(header.colour in CHANNELS)) refuse("is damaged or cut off: save it again");
  const { rows, columns, bits, colour } = header;
  checkSize(rows, columns);
  if (header.interlaced) refuse("is interlaced: save it again without that");
  if (![1, 2, 4, 8, 16].includes(bits) || (bits < 8 && colour !== 0 && colour !== 3)) refuse("is damaged: save it again");
  if (colour === 3 && !palette) refuse("has no palette: save it again");
  const inPixel = CHANNELS[colour], width = Math.ceil(columns * inPixel * bits / 8);
  const lines = unfiltered(await inflated(packed, rows * (width + 1)), rows, width, Math.max(1, inPixel * bits >> 3));

  const samples = colour === 2 || colour === 3 || colour === 6 ? 3 : 1;  // alpha is left out
  const pixels = new (bits === 16 ? Uint16Array : Uint8Array)(rows * columns * samples);
  const most = (1 << bits) - 1;
  for (let row = 0, to = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (bits < 8) {
        const place = column * bits;
        const value = lines[row * width + (place >> 3)] >> 8 - bits - (place & 7) & most;
        if (colour === 3) for (let k = 0; k < 3; k++) pixels[to++] = palette[3 * value + k];
        else pixels[to++] = value * 255 / most;
        continue;
      }
      const from = row * width + column * inPixel * (bits >> 3);
      for (let k = 0; k < samples; k++) {
        if (bits === 16) pixels[to++] = lines[from + 2 * k] << 8 | lines[from + 2 * k + 1];
        else pixels[to++] = colour === 3 ? palette[3 * lines[from] + k] : lines[from + k];
      }
    }
  }
  return { rows, columns, samples, bits: bits === 16 ? 16 : 8, pixels };
}

function unfiltered(stored, rows, width, step) {
  const lines = new Uint8Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const filter = stored[row * (width + 1)], from = row * (width + 1) + 1, to = row * width;
    if (filter > 4) refuse("is damaged: save it again");
    for (let k = 0; k < width; k++) {
      const left = k < step ? 0 : lines[to + k - step], above = row ? lines[to + k - width] : 0;
      let expected = 0;
      if (filter === 1) expected = left;
      else if (filter === 2) expected = above;
      else if (filter === 3) expected = left + above >> 1;
      else if (filter === 4) {
        const corner = row && k >= step ? lines[to + k - width - step] : 0;
        const [a, b, c] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
        expected = a <= b && a <= c ? left : b <= c ? above : corner;
      }
      lines[to + k] = stored[from + k] + expected;
    }
  }
  return lines;
}

// ---- JPEG

async function readJpeg(bytes, file) {
  // A browser fills up what is cut off. Within the pixels no byte 255 stands before one of these.
  const last = (marker) => {
    for (let k = bytes.length - 2; k >= 0; k--) if (bytes[k] === 0xff && bytes[k + 1] === marker) return k;
    return -1;
  };
  if (last(0xd9) < last(0xda)) refuse("is cut off: save it again");
  let components = 0;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1];
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      components = bytes[at + 9];
      checkSize(bytes[at + 5] << 8 | bytes[at + 6], bytes[at + 7] << 8 | bytes[at + 8]);
      break;
    }
    at += 2 + (bytes[at + 2] << 8 | bytes[at + 3]);
  }
  if (components !== 1 && components !== 3) refuse("has no grey values or RGB: save it as one of these");
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch { refuse("cannot be unpacked by this browser: save it again, best as PNG or TIFF"); }
  const { width: columns, height: rows } = bitmap;
  const context = new OffscreenCanvas(columns, rows).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, columns, rows);
  const pixels = new Uint8Array(rows * columns * components);
  for (let k = 0, to = 0; k < data.length; k += 4) {
    for (let sample = 0; sample < components; sample++) pixels[to++] = data[k + sample];
  }
  return { rows, columns, samples: components, bits: 8, pixels };
}

// ---- TIFF

const SIZES = { 1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4 };
const CUT_OFF = "is damaged or cut off: save it again";

// Tag -> its numbers, or its text, of each directory of the chain.
function directoriesOf(bytes) {
  const view = new DataView(bytes.buffer), little = bytes[0] === 0x49;
  const found = [], seen = new Set();
  for (let at = view.getUint32(4, little); at;) {
    if (seen.has(at) || at + 2 > bytes.length) refuse(CUT_OFF);
    seen.add(at);
    const tags = new Map(), number = view.getUint16(at, little);
    if (at + 2 + 12 * number + 4 > bytes.length) refuse(CUT_OFF);
    for (let k = 0; k < number; k++) {
      const entry = at + 2 + 12 * k, [tag, type] = [view.getUint16(entry, little), view.getUint16(entry + 2, little)];
      const count = view.getUint32(entry + 4, little), size = SIZES[type];
      if (!size) continue;
      const place = count * size > 4 ? view.getUint32(entry + 8, little) : entry + 8;
      if (place + count * size > bytes.length) refuse(CUT_OFF);
      if (type === 2) tags.set(tag, new TextDecoder().decode(bytes.subarray(place, place + count)));
      else {
        const read = size === 1 ? (k) => bytes[place + k]
          : size === 2 ? (k) => view.getUint16(place + 2 * k, little) : (k) => view.getUint32(place + 4 * k, little);
        tags.set(tag, Array.from({ length: count }, (_, k) => read(k)));
      }
    }
    found.push(tags);
    at = view.getUint32(at + 2 + 12 * number, little);
  }
  return found;
}

async function readTiff(bytes) {
  const pages = directoriesOf(bytes).filter((tags) => !((tags.get(254)?.[0] ?? 0) & 1));  // without previews
  if (!pages.length) refuse("holds previews and no image: save the image itself");
  if (pages.length > 1) refuse(`holds ${pages.length} planes: save one of them as a file of its own`);
  const tags = pages[0], one = (tag, otherwise) => tags.get(tag)?.[0] ?? otherwise;
  const described = String(tags.get(270) ?? "");
  const planes = Number(/^images=(\d+)/m.exec(described)?.[1] ?? 1);
  if (/^ImageJ=/.test(described) && planes > 1) refuse(`holds ${planes} planes: save one of them as a file of its own`);

  const [columns, rows] = [one(256, 0), one(257, 0)];
  checkSize(rows, columns);
  const [inPixel, bits] = [one(277, 1), one(258, 1)];
  if (!(tags.get(258) ?? [1]).every((each) => each === bits) || (bits !== 8 && bits !== 16)) {
    refuse(`has ${bits} bits in a pixel: save it with 8 or 16`);
  }
  const format = one(339, 1);
  if (format !== 1 && format !== 4) {
    refuse(`has ${format === 3 ? "floating-point numbers" : "signed numbers"}: save it with 8 or 16 bits without a sign`);
  }
  if (tags.has(42113)) refuse("names a value for no data, which this page does not know: use elmgan");
  if (one(266, 1) !== 1) refuse("has its bits in reverse order: save it again");
  const extra = tags.get(338) ?? [];
  const kept = [...Array(inPixel).keys()].filter((k) => ![1, 2].includes(extra[k - inPixel + extra.length]));
  const colour = one(262, 1), samples = kept.length;
  if (colour === 3 && !/^ImageJ=|<OME/.test(described) && !isOneColour(tags.get(320) ?? [])) {
    refuse("has a palette of colours: save it as RGB");
  }
  if (![0, 1, 2, 3].includes(colour)) refuse("has colours other than RGB: save it as RGB or in grey");
  if (samples !== 1 && !(samples === 3 && colour === 2)) {
    refuse(`has ${samples} channels: save one of them as a file of its own`);
  }

  const tiled = tags.has(322);
  const width = tiled ? one(322, 0) : columns, height = tiled ? one(323, 0) : Math.min(one(278, rows), rows);
  const offsets = tags.get(tiled ? 324 : 273) ?? [], lengths = tags.get(tiled ? 325 : 279) ?? [];
  if (!(width > 0 && height > 0)) refuse(CUT_OFF);
  const apart = one(284, 1) === 2 && inPixel > 1, together = apart ? 1 : inPixel;
  const [down, across] = [Math.ceil(rows / height), Math.ceil(columns / width)];
  if (offsets.length < down * across * (apart ? inPixel : 1) || lengths.length < offsets.length) refuse(CUT_OFF);
  const [unpack, predictor, little] = [unpacker(one(259, 1)), one(317, 1), bytes[0] === 0x49];
  if (predictor > 2) refuse("was predicted in a way that is not known: save it again");

  const pixels = new (bits === 16 ? Uint16Array : Uint8Array)(rows * columns * samples);
  for (const [to, sample] of kept.entries()) {
    if (!apart && to) break;  // all samples lie in the same blocks
    for (let block = 0; block < down * across; block++) {
      const number = block + (apart ? sample * down * across : 0);
      const [top, left] = [Math.floor(block / across) * height, block % across * width];
      const high = tiled ? height : Math.min(height, rows - top);
      const packed = bytes.subarray(offsets[number], offsets[number] + lengths[number]);
      const stored = await unpack(packed, high * width * together * bits / 8);
      const values = bits === 8 ? stored : inWords(stored, little);
      if (predictor === 2) addUp(values, high, width * together, together);
      for (let row = 0; row < Math.min(high, rows - top); row++) {
        for (let column = 0; column < Math.min(width, columns - left); column++) {
          const from = (row * width + column) * together, at = ((top + row) * columns + left + column) * samples;
          if (apart) pixels[at + to] = values[from];
          else for (let k = 0; k < samples; k++) pixels[at + k] = values[from + kept[k]];
        }
      }
    }
  }
  return { rows, columns, samples, bits, pixels };
}

// Whether a palette shows larger numbers as more of one colour, grey among them: the numbers are the data then.
function isOneColour(palette) {
  const size = palette.length / 3, amount = Array(size).fill(0);
  for (let k = 0; k < palette.length; k++) amount[k % size] += palette[k];
  const most = Math.max(...amount), brightest = amount.indexOf(most), room = 0.01 * Math.max(...palette, 1);
  return size > 0 && amount.every((value, k) => (k === 0 || value >= amount[k - 1]) && [0, 1, 2].every(
    (part) => Math.abs(palette[part * size + k] - palette[part * size + brightest] * value / Math.max(most, 1)) <= room));
}

function unpacker(compression) {
  const exact = (unpacked, length) => (unpacked.length < length ? refuse(CUT_OFF) : unpacked.slice(0, length));
  switch (compression) {
    case 1: return (packed, length) => exact(packed, length);
    case 5: return (packed, length) => exact(lzw(packed, length), length);
    case 8: case 32946: return (packed, length) => inflated([packed], length);
    case 32773: return (packed, length) => exact(packBits(packed, length), length);
    default: return refuse("is compressed in a way that this page does not unpack: save it uncompressed, with LZW or ZIP");
  }
}

function inWords(stored, little) {
  const words = new Uint16Array(stored.length >> 1), [low, high] = little ? [0, 1] : [1, 0];
  for (let k = 0; k < words.length; k++) words[k] = stored[2 * k + low] | stored[2 * k + high] << 8;
  return words;
}

function addUp(values, rows, width, step) {
  for (let row = 0; row < rows; row++) {
    for (let k = row * width + step; k < (row + 1) * width; k++) values[k] += values[k - step];
  }
}

function packBits(packed, length) {
  const unpacked = new Uint8Array(length);
  let filled = 0;
  for (let at = 0; at < packed.length && filled < length;) {
    const head = packed[at++];
    if (head < 128) {
      const some = packed.subarray(at, Math.min(at + head + 1, at + length - filled));
      unpacked.set(some, filled);
      filled += some.length;
      at += head + 1;
    } else if (head > 128) {
      unpacked.fill(packed[at++], filled, filled + 257 - head);
      filled += 257 - head;
    }
  }
  return unpacked.subarray(0, Math.min(filled, length));
}

// TIFF's LZW: codes of 9 to 12 bits, the first bit first, of which 256 begins anew and 257 ends.
function lzw(packed, length) {
  if (packed[0] === 0 && packed[1] & 1) refuse("is compressed with LZW of an old kind: save it again");
  const unpacked = new Uint8Array(length), starts = new Int32Array(4097), lengths = new Int32Array(4097);
  let filled = 0, size = 9, next = 258, held = 0, bits = 0;
  for (let at = 0; filled < length;) {
    while (bits < size && at < packed.length) { held = (held << 8 | packed[at++]) & 0xffffff; bits += 8; }
    if (bits < size) break;
    bits -= size;
    const code = held >> bits & (1 << size) - 1;
    if (code === 257) break;
    if (code === 256) { size = 9; next = 258; continue; }
    if (code >= next && code > 257) refuse(CUT_OFF);
    // Each entry is where it was first written, and one byte more: the first of what follows it.
    const begin = filled;
    if (code < 256) unpacked[filled++] = code;
    else for (let k = 0; k < lengths[code] && filled < length; k++, filled++) unpacked[filled] = unpacked[starts[code] + k];
    if (next < starts.length) { starts[next] = begin; lengths[next] = (code < 256 ? 1 : lengths[code]) + 1; next++; }
    size = next > 2047 ? 12 : next > 1023 ? 11 : next > 511 ? 10 : 9;
  }
  return unpacked.subarray(0, filled);
}
