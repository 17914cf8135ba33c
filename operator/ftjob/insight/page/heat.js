// The map of each rank's own work over its steps, as the report and `ftjob ui` show it.
const ftjobHeat = (() => {
  "use strict";
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Cividis: even for people who see red and green as one.
  const stops = [[0, 34, 78], [33, 61, 109], [85, 91, 108], [124, 123, 120], [165, 156, 116], [210, 193, 96], [254, 232, 56]];
  const colour = (share) => {
    const at = Math.max(0, Math.min(1, share)) * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(at));
    return `rgb(${stops[i].map((value, k) => Math.round(value + (stops[i + 1][k] - value) * (at - i))).join(",")})`;
  };
  const fit = (canvas, height) => {
    const ratio = devicePixelRatio || 1, width = canvas.clientWidth;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    return [context, width];
  };

  // `of` returns what there is to show by now: `ranks`, and `heat` with `ownMs` and `columns`.
  const map = (canvas, says, of) => {
    let at = null;
    const span = () => {
      const values = of().heat.ownMs.flat().filter((value) => value !== null).sort((a, b) => a - b), low = values[0];
      return [low, Math.max(values[Math.floor((values.length - 1) * 0.99)], low * 1.1, low + 0.001)];
    };
    const draw = () => {
      const { ownMs: rows, columns } = of().heat, [low, high] = span();
      const height = Math.max(40, Math.min(rows.length * (rows.length > 32 ? 8 : 20), 640));
      const [context, width] = fit(canvas, height), w = width / columns.length, h = height / rows.length;
      const gap = w > 6 && h > 6 ? 1 : 0;
      rows.forEach((row, y) => row.forEach((value, x) => {
        context.fillStyle = value === null ? css("--card") : colour((value - low) / (high - low));
        context.fillRect(x * w, y * h, Math.max(w - gap, 0.5), Math.max(h - gap, 0.5));
      }));
      if (at) {
        context.strokeStyle = css("--ink");
        context.lineWidth = 2;
        context.strokeRect(at[0] * w + 1, at[1] * h + 1, Math.max(w - 2, 1), Math.max(h - 2, 1));
      }
    };
    const tell = (x, y) => {
      const { ownMs: rows, columns } = of().heat;
      at = [Math.max(0, Math.min(columns.length - 1, x)), Math.max(0, Math.min(rows.length - 1, y))];
      const rank = of().ranks[at[1]], value = rows[at[1]][at[0]];
      const node = rank.node ? ` (node ${rank.node})` : "";
      says.textContent = `rank ${rank.rank}${node}, step ${columns[at[0]]}: ${value === null ? "not measured" : `${value.toFixed(1)} ms of its own`}`;
      draw();
    };
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect(), { ownMs: rows, columns } = of().heat;
      tell(Math.floor((event.clientX - box.left) / box.width * columns.length), Math.floor((event.clientY - box.top) / box.height * rows.length));
    });
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      at ? tell(at[0] + move[0], at[1] + move[1]) : tell(0, 0);
    });
    return { draw, span };
  };

  const scale = (canvas) => {
    const [context, width] = fit(canvas, 10);
    for (let x = 0; x < width; x++) { context.fillStyle = colour(x / width); context.fillRect(x, 0, 1, 10); }
  };
  return { css, map, scale };
})();
