// In: two or more answers of /metrics. Out: rates and latencies between them. Pure.

// "name" or 'name{label="value"}' -> value. Comments and what is no number are left out.
export const parseMetrics = (text) => {
  const values = new Map();
  for (const line of text.split("\n")) {
    const end = line.lastIndexOf(" ");
    if (line.startsWith("#") || end <= 0) continue;
    const value = Number(line.slice(end + 1));
    if (!Number.isNaN(value)) values.set(line.slice(0, end), value);
  }
  return values;
};

const kBucket = /^(.*)_bucket\{le="([^"]+)"\}$/;

// The `share` quantile of what a histogram took in between, within its bucket by proportion; null
// where it took nothing.
export const quantile = (before, after, name, share) => {
  const buckets = [];
  for (const [key, value] of after) {
    const found = kBucket.exec(key);
    if (found?.[1] !== name) continue;
    buckets.push([found[2] === "+Inf" ? Infinity : Number(found[2]),
                  value - (before.get(key) ?? 0)]);
  }
  buckets.sort((a, b) => a[0] - b[0]);
  const count = buckets.at(-1)?.[1] ?? 0;
  if (!(count > 0)) return null;
  const wanted = share * count;
  let [lower, below] = [0, 0];
  for (const [bound, sum] of buckets) {
    if (sum >= wanted && sum > below) {
      if (bound === Infinity) return lower;
      return lower + (bound - lower) * (wanted - below) / (sum - below);
    }
    [lower, below] = [bound, sum];
  }
  return lower;
};

// Samples {seconds, values} of the last `span` seconds, oldest first; all earlier ones are dropped
// where a counter fell, because then the server was started anew.
export const withSample = (samples, sample, span) => {
  const last = samples.at(-1);
  const beganAnew = last !== undefined &&
    (sample.values.get("te_embed_count") ?? 0) < (last.values.get("te_embed_count") ?? 0);
  const kept = beganAnew ? [] : samples.filter(({ seconds }) => seconds >= sample.seconds - span);
  return [...kept, sample];
};

// Of withSample()'s answer. Rates and latencies are null until there are two samples.
export const summaryOf = (samples) => {
  const [first, last] = [samples[0], samples.at(-1)];
  const time = last.seconds - first.seconds;
  const rate = (name) => time > 0
    ? ((last.values.get(name) ?? 0) - (first.values.get(name) ?? 0)) / time : null;
  const latency = (share) =>
    quantile(first.values, last.values, "te_request_duration", share);
  return {
    texts: rate("te_embed_success"),
    tokens: rate("textvec_tokens_total"),
    p50: latency(0.5),
    p99: latency(0.99),
    queue: last.values.get("te_queue_size") ?? null,
    requests: last.values.get("textvec_requests_in_flight") ?? null,
    connections: last.values.get("textvec_connections") ?? null,
  };
};
