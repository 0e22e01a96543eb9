// The shape of subgroup matrices: M tokens, N rows of weights, K weights of a row.
const M = 8u;
const N = 16u;
const K = 16u;
