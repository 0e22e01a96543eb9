// The shape of subgroup matrices: M tokens, N rows of weights, K weights of a row.
const M = 16u;
const N = 8u;
const K = 8u;
