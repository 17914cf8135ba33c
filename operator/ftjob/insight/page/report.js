(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const redraws = [];

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

  const heat = () => {
    const canvas = document.getElementById("heat"), says = document.getElementById("heat-says");
    if (!canvas || !data.heat) return;
    const rows = data.heat.ownMs, columns = data.heat.columns;
    const values = rows.flat().filter((value) => value !== null).sort((a, b) => a - b);
    const low = values[0], high = Math.max(values[Math.floor((values.length - 1) * 0.99)], low * 1.1, low + 0.001);
    const height = Math.max(40, Math.min(rows.length * (rows.length > 32 ? 8 : 20), 640));
    let at = null;
    const draw = () => {
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
      at = [Math.max(0, Math.min(columns.length - 1, x)), Math.max(0, Math.min(rows.length - 1, y))];
      const rank = data.ranks[at[1]], value = rows[at[1]][at[0]];
      const node = rank.node ? ` (node ${rank.node})` : "";
      says.textContent = `rank ${rank.rank}${node}, step ${columns[at[0]]}: ${value === null ? "not measured" : `${value.toFixed(1)} ms of its own`}`;
      draw();
    };
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      tell(Math.floor((event.clientX - box.left) / box.width * columns.length), Math.floor((event.clientY - box.top) / box.height * rows.length));
    });
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      at ? tell(at[0] + move[0], at[1] + move[1]) : tell(0, 0);
    });
    document.getElementById("heat-low").textContent = `${low.toFixed(1)} ms`;
    document.getElementById("heat-high").textContent = `${high.toFixed(1)} ms`;
    const scale = document.getElementById("heat-scale");
    const drawScale = () => {
      const [context, width] = fit(scale, 10);
      for (let x = 0; x < width; x++) { context.fillStyle = colour(x / width); context.fillRect(x, 0, 1, 10); }
    };
    redraws.push(draw, drawScale);
  };

  // From the last size on to the limit; if that is far, the curve keeps half of the plot.
  const foretell = (values, limit, reached) => {
    const time = values[0], first = time[0], last = time[time.length - 1];
    const sizes = values[1], at = sizes.findLastIndex((size) => size !== null);
    const end = Math.min(Math.max(reached, last + 1), 2 * last - first);
    const share = Math.min(1, (end - last) / Math.max(reached - last, 1));
    values.push([...sizes.map((size, i) => (i === at ? size : null)), sizes[at] + (limit - sizes[at]) * share]);
    time.push(end);
    values.slice(1, -2).forEach((line) => line.push(null));
    values[values.length - 2].push(limit);
  };

  const curves = () => {
    if (!data.curves || typeof uPlot === "undefined") return;
    const units = [...new Set(data.curves.lines.map((line) => line.unit))];
    const days = data.curves.time[data.curves.time.length - 1] - data.curves.time[0] > 86400;
    const two = (number) => String(number).padStart(2, "0");
    const clock = (seconds) => {
      const at = new Date(seconds * 1000), time = `${two(at.getHours())}:${two(at.getMinutes())}`;
      return days ? `${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}` : time;
    };
    const strokes = ["--own", "--waiting", "--input", "--transfer", "--pause"];
    const kinds = { Restart: "--high", Pause: "--pause", Capture: "--accent" };
    for (const unit of units) {
      const holder = document.getElementById(`plot-${units.indexOf(unit)}`);
      if (!holder) continue;
      const lines = data.curves.lines.filter((line) => line.unit === unit);
      const memory = unit === "GiB" && data.curves.limitBytes ? data.curves.limitBytes / 2 ** 30 : null;
      const values = [[...data.curves.time], ...lines.map((line) => [...line.values])];
      const reached = memory !== null ? data.curves.limitTime ?? null : null;
      if (memory !== null) values.push(data.curves.time.map(() => memory));
      if (reached !== null) foretell(values, memory, reached);
      let plot = null;
      const draw = () => {
        if (plot) plot.destroy();
        const ink = css("--ink"), grid = { stroke: css("--line"), width: 1 };
        const series = lines.map((line, i) => ({ label: line.name, stroke: css(strokes[i % strokes.length]), width: 1.5, dash: i % 2 ? [6, 3] : [], points: { show: data.curves.time.length < 3 } }));
        if (memory !== null) series.push({ label: "limit", stroke: css("--high"), width: 1, dash: [2, 4], points: { show: false } });
        if (reached !== null) series.push({ label: "if it goes on growing", stroke: css("--high"), width: 1.5, dash: [6, 3], points: { show: false } });
        const marks = (u) => {
          for (const mark of data.marks) {
            const x = u.valToPos(mark.time, "x", true);
            if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
            u.ctx.save();
            u.ctx.strokeStyle = css(kinds[mark.kind] || "--pause");
            u.ctx.setLineDash([4, 4]);
            u.ctx.beginPath(); u.ctx.moveTo(x, u.bbox.top); u.ctx.lineTo(x, u.bbox.top + u.bbox.height); u.ctx.stroke();
            u.ctx.restore();
          }
        };
        plot = new uPlot({
          width: holder.clientWidth, height: 200, series: [{}, ...series], hooks: { draw: [marks] },
          legend: { live: false },
          axes: [{ stroke: ink, grid, ticks: grid, values: (_, ticks) => ticks.map(clock) }, { stroke: ink, grid, ticks: grid, size: 60, values: (_, ticks) => ticks.map((v) => `${v} ${unit}`) }],
          scales: { y: { range: (_, min, max) => [0, Math.max(max, 0.001) * 1.05] } },
        }, values, holder);
      };
      redraws.push(draw);
    }
  };

  heat();
  curves();
  const all = () => redraws.forEach((redraw) => redraw());
  all();
  let width = document.documentElement.clientWidth, pending = 0;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(all);
  });
  dark.addEventListener("change", all);
  document.documentElement.dataset.ready = "yes";
})();
