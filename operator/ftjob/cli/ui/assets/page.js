(() => {
  "use strict";
  const PAUSE_MS = 2000, SPEED_MS = 10000, css = ftjobHeat.css;
  const at = (id) => document.getElementById(id);
  const say = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const show = (node, is) => { node.hidden = !is; };
  const make = (tag, text = "", kind = "") => {
    const node = document.createElement(tag);
    node.textContent = text;
    if (kind) node.className = kind;
    return node;
  };
  // What has not changed stays, with its focus and what is selected in it.
  const fill = (parent, items, draw) => {
    const key = JSON.stringify(items);
    if (parent.dataset.of === key) return;
    parent.dataset.of = key;
    parent.replaceChildren(...items.map(draw));
  };
  const age = (created) => {
    if (!created) return "";
    const s = Math.max(0, Date.now() / 1000 - created), m = Math.floor(s / 60), h = Math.floor(m / 60);
    return s < 120 ? `${Math.floor(s)}s` : m < 120 ? `${m}m` : h < 48 ? `${h}h` : `${Math.floor(h / 24)}d`;
  };

  // Asking: each question by itself, again after a pause, whatever the last answer was.
  const troubles = new Map();
  const trouble = (what, text) => {
    troubles.set(what, text);
    const all = [...new Set([...troubles.values()].filter(Boolean))];
    say(at("trouble"), all.join(" · "));
    show(at("trouble"), all.length);
  };
  const ask = async (what, query = {}) => {
    try {
      const answer = await fetch(`${what}?${new URLSearchParams(query)}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      return await answer.json();
    } catch {
      return { error: "ftjob ui does not answer: it has ended, or is busy; this page goes on asking", value: null, time: 0, isGone: true };
    }
  };
  const told = ({ error, time, isGone }) => !error || isGone ? error : `${error}${time ? ` (shown as of ${new Date(time * 1000).toLocaleTimeString()})` : ""}; trying again`;

  // The list.
  const nodes = new Map();
  let jobs = [], open = "", last = "";
  const fits = (row) => {
    const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = [row.name, row.where, row.phase, row.strategy, row.queue, row.reason].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  };
  const rowNode = (id) => {
    const tr = make("tr"), link = make("a");
    link.href = `#${encodeURIComponent(id)}`;
    link.addEventListener("focus", () => { last = id; });
    tr.append(...Array.from({ length: 9 }, (_, i) => make("td", "", i === 3 || (i > 3 && i !== 7) ? "wide" : "")));
    tr.firstChild.append(link);
    tr.children[1].append(make("span", "", "badge"));
    tr.addEventListener("click", (event) => { if (event.target !== link && !String(getSelection())) location.hash = link.hash; });
    return tr;
  };
  const links = () => [...at("rows").querySelectorAll("tr:not([hidden]) a")];
  const drawList = () => {
    const body = at("rows"), present = new Set(jobs.map((row) => row.id));
    for (const [id, tr] of nodes) if (!present.has(id)) { tr.remove(); nodes.delete(id); }
    jobs.forEach((row, i) => {
      let tr = nodes.get(row.id);
      if (!tr) nodes.set(row.id, tr = rowNode(row.id));
      if (body.children[i] !== tr) body.insertBefore(tr, body.children[i] || null);
      const cells = tr.children;
      say(cells[0].firstChild, row.name);
      cells[0].firstChild.title = row.where;
      const badge = cells[1].firstChild;
      if (badge.textContent !== row.phase) { badge.textContent = row.phase; badge.className = `badge ${/^[A-Za-z]+$/.test(row.phase) ? row.phase : ""}`; }
      [row.progress, row.eta, row.workers, row.strategy, row.queue, age(row.created), row.reason].forEach((text, k) => say(cells[k + 2], text));
      tr.hidden = !fits(row);
      if (row.id === open) tr.setAttribute("aria-current", "true"); else tr.removeAttribute("aria-current");
    });
    const count = jobs.filter(fits).length, running = jobs.filter((row) => row.phase === "Running").length;
    say(at("state"), `${count === jobs.length ? "" : `${count} of `}${jobs.length} job${jobs.length === 1 ? "" : "s"}, ${running} running`);
  };
  const pollList = async () => {
    const answer = await ask("jobs");
    trouble("jobs", told(answer));
    if (answer.value) {
      jobs = answer.value.rows;
      say(at("note"), answer.value.note);
      drawList();
    }
    document.documentElement.dataset.ready = "yes";
    setTimeout(pollList, PAUSE_MS);
  };

  // Plots: one of each unit, or of each metric.
  const strokes = ["--own", "--waiting", "--input", "--transfer", "--pause"];
  const two = (number) => String(number).padStart(2, "0");
  const clock = (seconds) => { const time = new Date(seconds * 1000); return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`; };
  const plots = (holder, curves, of) => {
    const groups = new Map();
    for (const line of curves.time.length > 1 ? curves.lines : []) groups.set(of(line), [...(groups.get(of(line)) || []), line]);
    const shape = JSON.stringify([...groups].map(([name, lines]) => [name, lines.map((line) => line.name)]));
    if (holder.dataset.of !== shape) {
      (holder.plots || []).forEach((plot) => plot.destroy());
      holder.dataset.of = shape;
      holder.replaceChildren(...[...groups.keys()].map(() => make("div", "", "plot")));
      const ink = css("--ink"), grid = { stroke: css("--line"), width: 1 };
      holder.plots = [...groups].map(([, lines], i) => new uPlot({
        width: holder.children[i].clientWidth, height: 180, legend: { live: false }, cursor: { show: false },
        series: [{}, ...lines.map((line, k) => ({ label: line.unit ? `${line.name} (${line.unit})` : line.name, stroke: css(strokes[k % strokes.length]), width: 1.5, dash: k % 2 ? [6, 3] : [], points: { show: false } }))],
        axes: [{ stroke: ink, grid, ticks: grid, space: 80, values: (_, ticks) => ticks.map(clock) }, { stroke: ink, grid, ticks: grid, size: 64, values: (_, ticks) => ticks.map((tick) => Number(tick.toPrecision(4))) }],
      }, [[], ...lines.map(() => [])], holder.children[i]));
    }
    [...groups].forEach(([name, lines], i) => {
      holder.plots[i].setData([curves.time, ...lines.map((line) => line.values)]);
      const words = lines.map((line) => { const known = line.values.filter((value) => value !== null); return `${line.name} ${Math.min(...known).toPrecision(3)} to ${Math.max(...known).toPrecision(3)}, last ${known[known.length - 1].toPrecision(3)} ${line.unit}`; });
      const box = holder.children[i];
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", words.join("; ") || name);
    });
  };
  const again = () => {
    for (const holder of [at("live"), at("speed")]) holder.dataset.of = "";
    drawJob();
    drawSpeed();
  };

  // One job.
  let job = null, speed = null, turn = 0;
  const drawJob = () => {
    if (!job) return;
    const answer = job.answer, known = answer.progress || {};
    at("job").classList.remove("is-waiting");
    say(at("name"), job.name);
    say(at("phase"), job.phase);
    at("phase").className = `badge ${/^[A-Za-z]+$/.test(job.phase) ? job.phase : ""}`;
    say(at("where"), `${job.where} · attempt ${answer.attempt}`);
    say(at("says"), answer.says);
    say(at("remedy"), answer.cause?.remedy ? `What to do: ${answer.cause.remedy}` : "");
    fill(at("evidence"), [...answer.evidence, ...answer.notRead.map((text) => `not read: ${text}`)], (text) => make("li", text));
    say(at("next").lastElementChild, answer.next);
    show(at("next"), answer.next);
    show(at("bar"), typeof known.percent === "number");
    if (typeof known.percent === "number") at("bar").value = known.percent;
    say(at("progress"), answer.says.includes(job.progress) ? "" : job.progress);
    say(at("time"), job.time ? `Time: ${job.time}` : "");
    say(at("failure"), job.failure);
    show(at("failure"), job.failure);
    show(at("findings-part"), answer.verdict);
    say(at("verdict"), answer.verdict || "");
    fill(at("findings"), answer.findings, (found) => make("li", [found.text, found.next].filter(Boolean).join(" ")));
    const live = job.trail.time.length;
    say(at("live-says"), live > 1 ? "" : "Curves of the loss and of the step time are drawn once two steps were told while this page is open.");
    plots(at("live"), job.trail, (line) => line.name);
    show(at("reports-part"), job.has_outputs || job.captures.length);
    const reports = [...(job.has_outputs ? [{ id: "", text: "The job", has_report: true }] : []), ...job.captures];
    fill(at("reports"), reports.map((found) => [job.id, found]), ([id, found]) => {
      const item = make("li"), text = found.id ? `Capture ${found.id}` : found.text;
      const link = make(found.has_report ? "a" : "span", text);
      if (found.has_report) { link.href = `report?${new URLSearchParams({ id, capture: found.id })}`; link.target = "_blank"; link.rel = "noreferrer"; }
      item.append(link, ` ${found.id ? found.text : ""}`);
      return item;
    });
    show(at("workers-part"), answer.workers.length);
    fill(at("workers"), answer.workers, (row) => {
      const tr = make("tr");
      tr.append(make("td", row.ranks), make("td", row.pod), make("td", row.node || "", "wide"), make("td", row.state), make("td", row.step === null ? "" : String(row.step), "number"));
      return tr;
    });
    say(at("workers-more"), job.more_workers ? `and ${job.more_workers} more, which run` : "");
    at("rank").max = job.ranks - 1;
    say(at("ranks"), `of ${job.ranks}`);
  };
  const map = ftjobHeat.map(at("heat"), at("heat-says"), () => speed);
  const drawSpeed = () => {
    if (job && !job.has_outputs) say(at("speed-says"), job.missing);
    plots(at("speed"), speed?.curves || { time: [], lines: [] }, (line) => line.unit);
    show(at("heat-part"), speed?.heat);
    if (speed?.heat) map.draw();
  };
  const pollJob = async (mine) => {
    const answer = await ask("job", { id: open });
    if (mine !== turn) return;
    trouble("job", told(answer));
    if (answer.value) { job = answer.value; drawJob(); if (!job.has_outputs) drawSpeed(); }
    setTimeout(() => mine === turn && pollJob(mine), PAUSE_MS);
  };
  const pollSpeed = async (mine) => {
    if (job?.has_outputs) {
      const answer = await ask("speed", { id: open });
      if (mine !== turn) return;
      if (answer.value && JSON.stringify(answer.value) !== JSON.stringify(speed)) { speed = answer.value; drawSpeed(); }
      say(at("speed-says"), answer.error || (speed?.verdict ?? "The outputs are being read."));
    }
    setTimeout(() => mine === turn && pollSpeed(mine), speed || (job && !job.has_outputs) ? SPEED_MS : PAUSE_MS / 4);
  };
  const pollLog = async (mine, rank) => {
    if (!job) { setTimeout(() => mine === turn && pollLog(mine, rank), PAUSE_MS / 8); return; }
    const answer = await ask("log", { id: open, rank });
    if (mine !== turn || rank !== at("rank").value) return;
    const log = at("log"), isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
    say(at("log-note"), answer.error || (answer.value?.notes || []).join(" "));
    if (answer.value) { say(log, answer.value.lines.join("\n")); if (isAtEnd) log.scrollTop = log.scrollHeight; }
    setTimeout(() => mine === turn && rank === at("rank").value && pollLog(mine, rank), PAUSE_MS);
  };
  at("rank").addEventListener("change", () => { say(at("log"), ""); pollLog(turn, at("rank").value); });

  const turnTo = () => {
    let id = "";
    try { id = decodeURIComponent(location.hash.slice(1)); } catch { /* no job has such a name */ }
    if (id === open) return;
    const before = open;
    [open, job, speed] = [id, null, null];
    turn += 1;
    trouble("job", "");
    document.body.classList.toggle("is-open", Boolean(open));
    show(at("job"), false);
    for (const name of ["log", "log-note", "speed-says", "heat-says"]) say(at(name), "");
    at("rank").value = "0";
    drawList();
    if (open) {
      last = open;
      show(at("job"), true);
      say(at("name"), jobs.find((row) => row.id === open)?.name || open);
      say(at("phase"), "");
      at("job").classList.add("is-waiting");
      drawSpeed();
      at("job").focus({ preventScroll: true });
      scrollTo(0, 0);
      pollJob(turn);
      pollSpeed(turn);
      pollLog(turn, "0");
    } else {
      nodes.get(before)?.querySelector("a").focus();
    }
  };
  const back = () => { location.hash = ""; };
  at("back").addEventListener("click", back);
  addEventListener("hashchange", turnTo);

  // Keys.
  const move = (by, opens) => {
    const all = links(), now = all.findIndex((link) => link.hash === `#${encodeURIComponent(opens ? open : last)}`);
    const link = all[now < 0 ? 0 : Math.max(0, Math.min(all.length - 1, now + by))];
    if (!link) return;
    if (opens) location.hash = link.hash; else link.focus();
  };
  const isIn = (id) => at(id).contains(document.activeElement);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || at("help").open || event.defaultPrevented) return;
    const { key, target } = event;
    if (target === at("filter")) {
      if (key === "Escape") { target.value = ""; drawList(); }
      if (["Escape", "Enter", "ArrowDown"].includes(key)) { event.preventDefault(); last = ""; move(0, false); }
      return;
    }
    if (target.tagName === "INPUT" && key !== "Escape") return;
    const isOpen = Boolean(open), arrows = !isOpen || isIn("rows");
    if (key === "j" || (key === "ArrowDown" && arrows)) move(document.activeElement.hash || isOpen ? 1 : 0, isOpen && key === "j");
    else if (key === "k" || (key === "ArrowUp" && arrows)) move(-1, isOpen && key === "k");
    else if (key === "Escape" && isOpen) back();
    else if (key === "/") { if (isOpen) { addEventListener("hashchange", () => at("filter").focus(), { once: true }); back(); } else at("filter").focus(); }
    else if (key === "?") at("help").showModal();
    else return;
    event.preventDefault();
  });
  at("keys").addEventListener("click", () => at("help").showModal());
  at("filter").addEventListener("input", drawList);

  let width = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    requestAnimationFrame(again);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  pollList();
  turnTo();
})();
