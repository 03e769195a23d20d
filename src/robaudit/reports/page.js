"use strict";
// Turns loss surfaces: by dragging, or with the arrow keys. Without this script they stand still.
(() => {
  const size = 420, tall = 1.25, ns = "http://www.w3.org/2000/svg";
  for (const svg of document.querySelectorAll("svg.surface")) {
    const heights = JSON.parse(svg.dataset.z), side = heights.length;
    const moved = [...svg.querySelectorAll("[data-p]")].map((item) => [item, JSON.parse(item.dataset.p)]);
    let azimuth = 0.55, elevation = 0.5, held = null;

    const draw = () => {
      const ca = Math.cos(azimuth), sa = Math.sin(azimuth), ce = Math.cos(elevation), se = Math.sin(elevation);
      const project = ([a, b, h]) => {
        const depth = a * sa + b * ca, up = tall * (h - 0.5) * ce + depth * se;
        return [size * (0.5 + (a * ca - b * sa) / 4), size * (0.5 - up / 3), depth, h];
      };
      const text = (points) => points.map((p) => p[0].toFixed(1) + "," + p[1].toFixed(1)).join(" ");
      const at = (i, j) => project([2 * i / (side - 1) - 1, 2 * j / (side - 1) - 1, heights[i][j]]);
      const cells = [];
      for (let i = 0; i + 1 < side; i++) {
        for (let j = 0; j + 1 < side; j++) {
          const corners = [at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)];
          cells.push([corners.reduce((sum, c) => sum + c[2], 0), corners]);
        }
      }
      cells.sort((one, other) => other[0] - one[0]);
      svg.querySelector(".cells").replaceChildren(...cells.map(([, corners]) => {
        const cell = document.createElementNS(ns, "polygon");
        const mean = corners.reduce((sum, c) => sum + c[3], 0) / 4;
        cell.setAttribute("class", "h" + Math.max(0, Math.min(9, Math.floor(mean * 10))));
        cell.setAttribute("points", text(corners));
        return cell;
      }));
      for (const [item, points] of moved) {
        const places = points.map(project);
        if (item.tagName === "text") {
          item.setAttribute("x", places[0][0].toFixed(1));
          item.setAttribute("y", places[0][1].toFixed(1));
        } else {
          item.setAttribute("points", text(places));
        }
      }
    };

    const turn = (across, up) => {
      azimuth += across;
      elevation = Math.max(0, Math.min(1.5, elevation + up));
      draw();
    };
    svg.addEventListener("pointerdown", (event) => {
      held = [event.clientX, event.clientY];
      svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => {
      if (!held) return;
      turn((held[0] - event.clientX) / 120, (event.clientY - held[1]) / 120);
      held = [event.clientX, event.clientY];
    });
    for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, () => { held = null; });
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (!step) return;
      event.preventDefault();
      turn(...step);
    });
    svg.classList.add("turns");
    draw();
  }
})();
