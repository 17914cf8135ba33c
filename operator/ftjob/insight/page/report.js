(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const css = ftjobHeat.css;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const redraws = [];

  const heat = () => {
    const canvas = document.getElementById("heat");
    if (!canvas || !data.heat) return;
    const { draw, span } = ftjobHeat.map(canvas, document.getElementById("heat-says"), () => data);
    const [low, high] = span();
    document.getElementById("heat-low").textContent = `${low.toFixed(1)} ms`;
    document.getElementById("heat-high").textContent = `${high.toFixed(1)} ms`;
    redraws.push(draw, () => ftjobHeat.scale(document.getElementById("heat-scale")));
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
