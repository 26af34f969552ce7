// What needs no bundling goes to dist/ as it is.
import { copyFileSync } from "node:fs";

for (const name of ["index.html", "style.css", "icon.svg"]) copyFileSync(name, `dist/${name}`);
