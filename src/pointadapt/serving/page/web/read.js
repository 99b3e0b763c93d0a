"use strict";
// Points of a dropped file: PLY (text, binary; clouds and meshes), and text with a point a line.

const KINDS = {
  char: "Int8", int8: "Int8", uchar: "Uint8", uint8: "Uint8", short: "Int16", int16: "Int16",
  ushort: "Uint16", uint16: "Uint16", int: "Int32", int32: "Int32", uint: "Uint32",
  uint32: "Uint32", float: "Float32", float32: "Float32", double: "Float64", float64: "Float64",
};
const SIZES = { Int8: 1, Uint8: 1, Int16: 2, Uint16: 2, Int32: 4, Uint32: 4, Float32: 4, Float64: 8 };
const TEXTS = ["xyz", "txt", "csv", "pts", "asc"];

// {points: Float64Array of x, y, z one after another, faces: Int32Array of corners or null}
function readCloud(name, buffer, columns) {
  const ending = name.toLowerCase().split(".").pop();
  if (ending === "ply") return readPly(buffer, columns);
  if (TEXTS.includes(ending)) return { points: readText(decoded(buffer), columns), faces: null };
  throw new Error(`this page reads .ply, .${TEXTS.join(", .")}: convert the file first`);
}

// As TextDecoder by itself, but for the byte order marks of UTF-16.
function decoded(buffer) {
  const [a, b] = new Uint8Array(buffer, 0, Math.min(2, buffer.byteLength));
  const utf16 = a === 255 && b === 254 ? "utf-16le" : a === 254 && b === 255 ? "utf-16be" : "";
  return new TextDecoder(utf16 || "utf-8").decode(buffer);
}

// Places of x, y and z among names of columns: as they are, or else whatever their case is.
function placesOf(names, columns) {
  const bare = names.map((name) => name.trim().replace(/^["']|["']$/g, ""));
  const found = columns.map((wanted) => {
    const exact = bare.indexOf(wanted);
    return exact >= 0 ? exact : bare.findIndex((n) => n.toLowerCase() === wanted.toLowerCase());
  });
  return found.includes(-1) ? null : found;
}

// A number as people and programs write it; undefined if it is none.
function numberOf(word = "") {
  if (/^[-+]?nan$/i.test(word)) return NaN;
  if (/^[-+]?inf(inity)?$/i.test(word)) return word[0] === "-" ? -Infinity : Infinity;
  return word === "" || Number.isNaN(Number(word)) ? undefined : Number(word);
}

function readText(text, columns) {
  const numbers = [];
  let places = [0, 1, 2];
  for (const line of text.split(/\r?\n/)) {
    const words = line.replace(/^\s*(#|\/\/|%|!)+/, "").replace(/#.*/, "").trim()
      .split(/\s*[,;]\s*|\s+/);
    const row = places.map((k) => numberOf(words[k]));
    if (/;.*,|,.*;/.test(line)) throw new Error("decimal commas are not read here: use points");
    if (/^\s*(#|\/\/|%|!)/.test(line) || row.includes(undefined)) {
      if (!numbers.length) places = placesOf(words, columns) || places;
      else if (words.join("") && words.length > 1) throw new Error(`has no point in: ${line.slice(0, 60)}`);
    } else numbers.push(...row);
  }
  return new Float64Array(numbers);
}

function readPly(buffer, columns) {
  const { format, elements, body } = plyHeader(buffer);
  const rows = format === "ascii" ? textRows(buffer, body) : binaryRows(buffer, body, format);
  const cloud = { points: null, faces: null };
  for (const element of elements) {
    if (element.name === "vertex") cloud.points = vertices(element, rows, columns);
    else if (element.name === "face" && element.count) cloud.faces = triangles(element, rows);
    else for (let k = 0; k < element.count; k++) rows(element);
  }
  if (!cloud.points) throw new Error("has no vertices");
  return cloud;
}

function plyHeader(buffer) {
  const start = new TextDecoder("latin1").decode(buffer.slice(0, 1 << 16));
  const end = /^[ \t]*end_header[ \t]*(\r\n|\n|\r)/m.exec(start);
  if (!start.startsWith("ply") || !end) throw new Error("is no PLY file, or is cut short");
  const elements = [];
  let format = "";
  for (const line of start.slice(0, end.index).split(/\r\n|\n|\r/)) {
    const [word, ...rest] = line.trim().split(/\s+/);
    if (word === "format") format = rest[0];
    if (word === "element") elements.push({ name: rest[0], count: Number(rest[1]), properties: [] });
    if (word === "property" && elements.length) elements.at(-1).properties.push(property(rest));
  }
  if (elements.some((e) => !e.properties.length)) throw new Error("has elements of nothing");
  return { format, elements, body: end.index + end[0].length };
}

function property(words) {
  const [count, kind, name] = words[0] === "list" ? words.slice(1) : [null, ...words];
  if (!KINDS[kind] || (count && !KINDS[count])) throw new Error(`has a property of type ${kind}`);
  return { name, kind: KINDS[kind], count: count && KINDS[count] };
}

// Gives the next row of an element: of each property a number, or a list of them.
function binaryRows(buffer, at, format) {
  const view = new DataView(buffer), little = format === "binary_little_endian";
  const next = (kind) => {
    if (at + SIZES[kind] > view.byteLength) throw new Error("is cut short");
    const value = view[`get${kind}`](at, little);
    at += SIZES[kind];
    return value;
  };
  return (element) => element.properties.map(({ kind, count }) =>
    count ? Array.from({ length: next(count) }, () => next(kind)) : next(kind));
}

function textRows(buffer, body) {
  const lines = new TextDecoder("latin1").decode(buffer.slice(body)).split(/\r\n|\n|\r/)
    .filter((line) => line.trim());
  let at = 0;
  const number = (word, kind) => {
    const value = numberOf(word);
    if (value === undefined) throw new Error("is cut short, or damaged");
    return kind === "Float32" ? Math.fround(value) : value;
  };
  return (element) => {
    const words = (lines[at++] || "").trim().split(/\s+/);
    let k = 0;
    return element.properties.map(({ kind, count }) =>
      count ? Array.from({ length: number(words[k++], count) }, () => number(words[k++], kind))
        : number(words[k++], kind));
  };
}

function vertices(element, rows, columns) {
  const places = placesOf(element.properties.map((p) => p.name), columns);
  if (!places) throw new Error(`has no ${columns.join(", ")}`);
  const points = [];
  for (let k = 0; k < element.count; k++) {
    const row = rows(element);
    points.push(row[places[0]], row[places[1]], row[places[2]]);
  }
  return new Float64Array(points);
}

// Polygons cut into fans.
function triangles(element, rows) {
  const place = element.properties.findIndex((p) => /^vertex_ind(ex|ices)$/.test(p.name));
  const corners = [];
  for (let k = 0; k < element.count; k++) {
    const polygon = place < 0 ? [] : rows(element)[place];
    for (let j = 2; j < polygon.length; j++) corners.push(polygon[0], polygon[j - 1], polygon[j]);
  }
  return corners.length ? Int32Array.from(corners) : null;
}
