#!/usr/bin/env node
// The command's first file, which Node 10 reads too: if something is missing it says so in one line, and otherwise it starts dist/.
"use strict";

const needed = require("../package.json").engines.node.replace(">=", "");

/** Whether a version is older than another: "18.20.8" than "20.19". */
function isOlder(version, than) {
  const [major, minor] = version.split(".").map(Number);
  const [thanMajor, thanMinor] = than.split(".").map(Number);
  return major < thanMajor || (major === thanMajor && minor < thanMinor);
}

function isBuilt() {
  try {
    require.resolve("../dist/cli/main.js");
    return true;
  } catch {
    return false;
  }
}

function refuse(message) {
  console.error(`error: ${message}`);
  process.exit(2);
}

if (isOlder(process.versions.node, needed)) {
  refuse(
    `dawnstream needs Node ${needed} or newer, and this is ${process.version}: see https://nodejs.org.`,
  );
}
if (!isBuilt()) {
  refuse(
    "dawnstream is not built: run `npm ci`, or `npm run build` if npm was told to run no scripts.",
  );
}
import("../dist/cli/main.js").catch((error) => {
  const missing = /^Cannot find package '([^']+)'/.exec(error.message);
  if (error.code === "ERR_MODULE_NOT_FOUND" && missing) {
    refuse(`${missing[1]}, which dawnstream needs, is not installed: run \`npm ci\`.`);
  }
  throw error;
});
