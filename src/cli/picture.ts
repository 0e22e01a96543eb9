// Pictures of a Vega-Lite specification: SVG, or PNG with a font of our own, the same on every machine.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { TopLevelSpec } from "vega-lite";
import { writeUserFile } from "./input.ts";

/** Pixels of a PNG for each unit of the drawing. */
const ZOOM = 2;

/** What all pictures share: a title that asks a question, what was measured on what, and their looks. */
export function frame(title: string, subtitle: string) {
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    background: "white",
    padding: 12,
    title: { text: title, subtitle, anchor: "start", fontSize: 15 },
    config: {
      font: "DejaVu Sans",
      axis: { labelFontSize: 11, titleFontSize: 12 },
      legend: { labelFontSize: 11, labelLimit: 300 },
    },
  };
}

/** Draws into an SVG or PNG file, as its name ends. The drawing libraries are loaded here, since nothing else needs them. */
export async function writePicture(path: string, spec: unknown): Promise<void> {
  const [vega, vegaLite] = await Promise.all([import("vega"), import("vega-lite")]);
  const { spec: compiled } = vegaLite.compile(spec as TopLevelSpec);
  const svg = await new vega.View(vega.parse(compiled), { renderer: "none" }).toSVG();
  await writeUserFile(path, path.endsWith(".png") ? await rasterise(svg) : svg);
}

/** The rasteriser may be set up once a process. */
let rasteriser: Promise<void> | undefined;

async function rasterise(svg: string): Promise<Uint8Array> {
  const { initWasm, Resvg } = await import("@resvg/resvg-wasm");
  const { resolve } = createRequire(import.meta.url);
  const font = (name: string) => readFile(resolve(`dejavu-fonts-ttf/ttf/${name}.ttf`));
  rasteriser ??= initWasm(readFile(resolve("@resvg/resvg-wasm/index_bg.wasm")));
  await rasteriser;
  const fontBuffers = await Promise.all(["DejaVuSans", "DejaVuSans-Bold"].map(font));
  return new Resvg(svg, {
    fitTo: { mode: "zoom", value: ZOOM },
    font: { fontBuffers, defaultFontFamily: "DejaVu Sans" },
  })
    .render()
    .asPng();
}
