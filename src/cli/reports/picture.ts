// Pictures of a Vega-Lite specification: SVG, or PNG with a font of our own, the same on every
// machine.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { TopLevelSpec } from "vega-lite";
import { writeWholeFile } from "../../platform/write-file.ts";
import { printableLine } from "../terminal/printable.ts";

/** Pixels of a PNG for each unit of the drawing. */
const ZOOM = 2;

/**
 * What all pictures share: a title that asks a question, what was measured on what, and their
 * looks.
 */
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

const { resolve } = createRequire(import.meta.url);

/** Whether the packages that draw are installed: npm leaves out all four of them or none. */
export function canDraw(): boolean {
  try {
    resolve(RASTERISER);
    return true;
  } catch {
    return false;
  }
}

const RASTERISER = "@resvg/resvg-wasm/index_bg.wasm";

/**
 * Draws into an SVG or PNG file, as its name ends. The drawing libraries are loaded here, since
 * nothing else needs them.
 */
export async function writePicture(path: string, spec: unknown): Promise<void> {
  const [vega, vegaLite] = await Promise.all([import("vega"), import("vega-lite")]);
  const { spec: compiled } = vegaLite.compile(drawable(spec));
  const svg = await new vega.View(vega.parse(compiled), { renderer: "none" }).toSVG();
  await writeWholeFile(path, path.endsWith(".png") ? await rasterise(svg) : svg);
}

/**
 * XML forbids most control characters, escaped or not. A number that is not finite becomes null,
 * which a line leaves out.
 */
function drawable(spec: unknown): TopLevelSpec {
  const clean = (_: string, value: unknown) =>
    typeof value === "string" ? printableLine(value) : value;
  return JSON.parse(JSON.stringify(spec, clean)) as TopLevelSpec;
}

/** The rasteriser may be set up once a process. */
let rasteriser: Promise<void> | undefined;

async function rasterise(svg: string): Promise<Uint8Array> {
  const { initWasm, Resvg } = await import("@resvg/resvg-wasm");
  const font = (name: string) => readFile(resolve(`dejavu-fonts-ttf/ttf/${name}.ttf`));
  rasteriser ??= initWasm(readFile(resolve(RASTERISER)));
  await rasteriser;
  const fontBuffers = await Promise.all(["DejaVuSans", "DejaVuSans-Bold"].map(font));
  return new Resvg(svg, {
    fitTo: { mode: "zoom", value: ZOOM },
    font: { fontBuffers, defaultFontFamily: "DejaVu Sans" },
  })
    .render()
    .asPng();
}
