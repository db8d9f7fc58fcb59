"use strict";
// The page of all recordings: sends files, and shows what the program says of them. Whatever it
// shows of a name is text, never markup.
{
  const element = (id) => document.getElementById(id);
  const app = element("app"), drop = element("drop"), trouble = element("trouble");
  const mostMegabytes = Number(app.dataset.mostMegabytes);
  const scoreSuffixes = app.dataset.scoreSuffixes.split(" ");
  const isScore = (file) => scoreSuffixes.some((suffix) => file.name.toLowerCase().endsWith(suffix));
  let score = null; // of the next recording
  let uploads = 0; // on their way

  function make(tag, className = "", text = "") {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = text;
    return node;
  }

  function button(text, name, action) {
    const node = make("button", "", text);
    node.type = "button";
    node.setAttribute("aria-label", `${text}: ${name}`);
    node.addEventListener("click", action);
    return node;
  }

  function row(name) {
    const item = make("li", "job");
    const parts = { item, title: make("h3", "", name), actions: make("div", "actions"), state: make("p", "state"), added: make("time", "added"), bar: make("progress"), more: make("div") };
    parts.bar.max = 1;
    parts.more.style.gridColumn = "1 / -1";
    item.append(parts.title, parts.actions, parts.state, parts.added, parts.bar, parts.more);
    return parts;
  }

  function complain(text) {
    trouble.textContent = text;
    trouble.hidden = !text;
  }

  function seconds(value) {
    const whole = Math.max(1, Math.round(value));
    return whole < 90 ? `${whole} s` : `${Math.round(whole / 60)} min`;
  }

  // --- what is sent

  function setScore(file) {
    score = file;
    element("score-line").hidden = !file;
    element("score-name").textContent = file ? file.name : "";
  }

  function take(files) {
    complain("");
    const recordings = files.filter((file) => !isScore(file));
    const scores = files.filter(isScore);
    if (scores.length > 1) return complain("One score at a time, please: drop each with its own recording.");
    if (scores.length) setScore(scores[0]);
    if (score && recordings.length > 1) return complain("Which of these recordings is the score of? Drop the score with that one alone.");
    for (const recording of recordings) send(recording, score);
    if (recordings.length) setScore(null);
  }

  function send(recording, itsScore) {
    const megabytes = (recording.size + (itsScore ? itsScore.size : 0)) / 1e6;
    if (megabytes > mostMegabytes) return complain(`${recording.name} is larger than ${mostMegabytes} MB, the most that is taken: cut it, or start umss-jax app with a higher --max-upload-mb`);
    if (!recording.size) return complain(`${recording.name} is empty: choose another recording`);
    const request = new XMLHttpRequest();
    const parts = row(recording.name);
    const end = () => {
      parts.item.remove();
      uploads--;
      showEmpty();
    };
    parts.state.textContent = "sending";
    parts.actions.append(button("Cancel", recording.name, () => request.abort()));
    element("uploads").append(parts.item);
    uploads++;
    showEmpty();
    request.upload.addEventListener("progress", (event) => {
      parts.bar.value = event.loaded / event.total;
      parts.state.textContent = `sending, ${Math.round((100 * event.loaded) / event.total)} %`;
    });
    request.addEventListener("load", () => {
      end();
      if (request.status !== 201) complain(errorOf(request.responseText, recording.name));
    });
    request.addEventListener("error", () => {
      end();
      complain(`${recording.name} could not be sent: is the file still there, and the program still running?`);
    });
    request.addEventListener("abort", end);
    request.open("POST", "jobs");
    request.setRequestHeader("umss-recording", encodeURIComponent(recording.name));
    request.setRequestHeader("umss-practice", element("practice").checked ? "1" : "0");
    if (itsScore) {
      request.setRequestHeader("umss-score", encodeURIComponent(itsScore.name));
      request.setRequestHeader("umss-score-bytes", itsScore.size);
    }
    request.send(itsScore ? new Blob([itsScore, recording]) : recording);
  }

  function errorOf(text, name) {
    try {
      return JSON.parse(text).error;
    } catch {
      return `${name} was refused: ${text}`;
    }
  }

  element("choose").addEventListener("click", () => element("recording-input").click());
  element("choose-score").addEventListener("click", () => element("score-input").click());
  element("forget-score").addEventListener("click", () => setScore(null));
  for (const id of ["recording-input", "score-input"]) {
    element(id).addEventListener("change", (event) => {
      take([...event.target.files]);
      event.target.value = "";
    });
  }
  let depth = 0; // of elements that a file is dragged over
  const carriesFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  const over = (change) => (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = change === null ? 0 : depth + change;
    drop.classList.toggle("over", depth > 0);
  };
  document.addEventListener("dragenter", over(1));
  document.addEventListener("dragleave", over(-1));
  document.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    over(null)(event);
    if (carriesFiles(event)) take([...event.dataTransfer.files]);
  });
  window.addEventListener("beforeunload", (event) => {
    if (uploads) event.preventDefault(); // an upload would be lost, and nothing else
  });

  // --- what is told

  const rows = new Map(); // by id of the job
  const WORDS = { waiting: "waiting", running: "beginning", done: "done", failed: "failed", cancelled: "cancelled", interrupted: "interrupted: the program ended before it was done" };

  async function ask(method, path) {
    const answer = await fetch(path, { method }).catch(() => null);
    if (!answer) complain("The program does not answer: is it still running?");
  }

  function stateOf(job) {
    if (job.state !== "running" || !job.stage) return WORDS[job.state];
    const left = job.left_s === null ? "" : `, about ${seconds(job.left_s)} left`;
    const part = job.part > 0 ? `, ${Math.round(100 * job.part)} %` : "";
    return `${job.stage}${part}${left}`;
  }

  function actionsOf(job) {
    const path = `jobs/${job.id}`;
    if (job.state === "waiting" || job.state === "running") return [button("Cancel", job.name, () => ask("POST", `${path}/cancel`))];
    const links = job.pages.map((page, index) => {
      const link = make("a", index ? "plain" : "", page.label ? `Listen ${page.label}` : "Listen");
      link.href = `${path}/${page.file}`;
      link.setAttribute("aria-label", `${link.textContent}: ${job.name}`);
      return link;
    });
    if (job.state === "done") {
      const all = make("a", "plain", "All files (ZIP)");
      all.href = `${path}/all.zip`;
      all.setAttribute("aria-label", `All files (ZIP): ${job.name}`);
      links.push(all);
    } else links.push(button("Try again", job.name, () => ask("POST", `${path}/retry`)));
    links.push(button("Remove", job.name, () => confirm(`Remove ${job.name} and all that was made of it?`) && ask("DELETE", path)));
    return links;
  }

  function update(job) {
    if (!rows.has(job.id)) {
      const made = { ...row(job.name), shape: "" };
      const added = new Date(1000 * job.added_s); // tells recordings of one name apart
      made.added.dateTime = added.toISOString();
      made.added.textContent = added.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
      rows.set(job.id, made);
    }
    const parts = rows.get(job.id);
    const state = stateOf(job);
    if (parts.state.textContent !== state) parts.state.textContent = state;
    parts.bar.hidden = job.state !== "running";
    if (job.part) parts.bar.value = job.part;
    else parts.bar.removeAttribute("value");
    const shape = JSON.stringify([job.state, job.error, job.notes, job.pages]);
    if (shape !== parts.shape) { // else buttons would lose the focus
      parts.shape = shape;
      parts.actions.replaceChildren(...actionsOf(job));
      const lines = job.notes.map((note) => make("p", "", note));
      if (job.score) lines.unshift(make("p", "", `with the score ${job.score}`));
      if (job.error) lines.push(make("p", "error", job.error));
      parts.more.replaceChildren(...lines);
    }
    return parts.item;
  }

  function showEmpty() {
    element("empty").hidden = uploads + rows.size > 0;
  }

  function show(jobs) {
    const there = new Set(jobs.map((job) => job.id));
    for (const [id, parts] of rows) {
      if (there.has(id)) continue;
      parts.item.remove();
      rows.delete(id);
    }
    const list = element("jobs");
    for (const [index, job] of jobs.entries()) {
      const item = update(job);
      if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    }
    showEmpty();
  }

  const news = new EventSource("news");
  let lost = false;
  news.addEventListener("message", (event) => {
    if (lost) complain("");
    lost = false;
    show(JSON.parse(event.data));
  });
  news.addEventListener("error", () => {
    lost = true;
    complain("The program does not answer: is it still running? This page goes on as soon as it does.");
    if (news.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  });
}
