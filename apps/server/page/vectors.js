// In: vectors. Out: cosines, and the two directions in which they differ most. Pure.

const dot = (a, b) => {
  let sum = 0;
  for (let i = 0; i < a.length; ++i) sum += a[i] * b[i];
  return sum;
};

// 0 where one of them has no length.
export const cosine = (a, b) => {
  const lengths = Math.sqrt(dot(a, a) * dot(b, b));
  return lengths > 0 ? dot(a, b) / lengths : 0;
};

export const cosineMatrix = (rows) => {
  const lengths = rows.map((row) => Math.sqrt(dot(row, row)));
  return rows.map((a, i) => rows.map((b, j) => {
    const product = lengths[i] * lengths[j];
    return product > 0 ? dot(a, b) / product : 0;
  }));
};

// Eigenvalues and eigenvectors of a symmetric matrix by Jacobi's rotations: no random start, so that
// the same matrix always gives the same answer. vectors[i][k] is component i of eigenvector k.
export const eigen = (symmetric) => {
  const n = symmetric.length;
  const a = symmetric.map((row) => Float64Array.from(row));
  const vectors = a.map((_, i) => Float64Array.from({ length: n }, (_unused, k) => +(i === k)));
  const size = a.reduce((sum, row) => sum + dot(row, row), 0);
  for (let sweep = 0; sweep < 60; ++sweep) {
    let off = 0;
    for (let p = 0; p < n; ++p) for (let q = p + 1; q < n; ++q) off += a[p][q] ** 2;
    if (off <= 1e-28 * size) break;
    for (let p = 0; p < n; ++p) {
      for (let q = p + 1; q < n; ++q) {
        if (a[p][q] === 0) continue;
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (let k = 0; k < n; ++k) {
          [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
        }
        for (let k = 0; k < n; ++k) {
          [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
          [vectors[k][p], vectors[k][q]] =
            [c * vectors[k][p] - s * vectors[k][q], s * vectors[k][p] + c * vectors[k][q]];
        }
      }
    }
  }
  return { values: a.map((row, i) => row[i]), vectors };
};

// Two coordinates a row, and the share of the variance along each. Of as many numbers as there are
// rows, and not of as many as a row has: rows are few. A direction's sign is arbitrary; here the
// first of the rows that lie furthest out lies on the positive side.
export const principalPoints = (rows) => {
  const n = rows.length;
  const points = rows.map(() => [0, 0]);
  const explained = [0, 0];
  if (n < 2) return { points, explained };
  const mean = new Float64Array(rows[0].length);
  for (const row of rows) for (let i = 0; i < mean.length; ++i) mean[i] += row[i] / n;
  const centred = rows.map((row) => Float64Array.from(row, (value, i) => value - mean[i]));
  const gram = centred.map((a) => centred.map((b) => dot(a, b)));
  const total = gram.reduce((sum, row, i) => sum + row[i], 0);
  const size = rows.reduce((sum, row) => sum + dot(row, row), 0);
  if (total <= 1e-10 * size) return { points, explained };  // the same vector, but for rounding
  const { values, vectors } = eigen(gram);
  const order = values.map((_, k) => k).sort((a, b) => values[b] - values[a] || a - b);
  for (let axis = 0; axis < 2; ++axis) {
    const k = order[axis];
    if (values[k] <= 1e-10 * total) continue;
    const furthest = Math.max(...vectors.map((row) => Math.abs(row[k])));
    const first = vectors.find((row) => Math.abs(row[k]) >= furthest * (1 - 1e-6));
    const scale = Math.sqrt(values[k]) * Math.sign(first[k]);
    points.forEach((point, i) => { point[axis] = scale * vectors[i][k]; });
    explained[axis] = values[k] / total;
  }
  return { points, explained };
};
