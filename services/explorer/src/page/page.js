// Shows /api/state every two seconds. Values are only ever set as text, never as markup.

const POLL_MS = 2000;

function row(cells) {
  const tr = document.createElement('tr');
  for (const cell of cells) {
    const td = document.createElement('td');
    if (cell instanceof Node) td.append(cell);
    else td.textContent = String(cell);
    tr.append(td);
  }
  return tr;
}

function bar({ done, total, unit, state }) {
  const span = document.createElement('span');
  if (total > 0 && state === 'running') {
    const progress = document.createElement('progress');
    progress.max = total;
    progress.value = done;
    span.append(progress, ` ${done}/${total} ${unit}`);
  } else if (total > 0) span.textContent = `${done}/${total} ${unit}`;
  return span;
}

function jobRow(job) {
  const tr = row([
    job.id,
    job.kind,
    job.state,
    bar(job),
    job.error || job.message,
    new Date(job.created_ms).toLocaleString(),
  ]);
  tr.className = job.state;
  return tr;
}

function modelRow({ name, family, n_layers, n_heads, d_model, parameters }) {
  return row([name, family, n_layers, n_heads, d_model, parameters.toLocaleString()]);
}

function fill(id, rows, nothing) {
  const body = document.getElementById(id);
  body.replaceChildren(...(rows.length > 0 ? rows : [row([nothing])]));
}

async function refresh() {
  const trouble = document.getElementById('trouble');
  try {
    const response = await fetch('/api/state');
    const state = await response.json();
    if (!response.ok) throw new Error(state.error.message);
    document.getElementById('services').textContent = `services: ${state.services.join(', ')}`;
    fill('jobs', state.jobs.map(jobRow), 'no jobs yet');
    fill('models', state.models.map(modelRow), 'no models');
    trouble.textContent = state.missing.join('; ');
  } catch (error) {
    trouble.textContent = `no answer from heddle: ${error.message}`;
  }
  setTimeout(refresh, POLL_MS);
}

await refresh();
