// Subgroup matrices, as Dawn offers them: a matrix lies in the registers of a whole subgroup, in an
// order that only the adapter knows. Appended to `matmul-matrices`, with a shape: M, N and K.
enable chromium_experimental_subgroup_matrix;

alias Tokens = subgroup_matrix_left<f16, K, M>;         // [M, K]
alias Rows = subgroup_matrix_right<f16, N, K>;          // [K, N], in memory [N, K]
alias Products = subgroup_matrix_result<f32, N, M>;     // [M, N]

fn tokens_at(offset: u32) -> Tokens {
  return subgroupMatrixLoad<Tokens, row_major>(&x_tile, offset, PITCH);
}

fn rows_at(offset: u32) -> Rows {
  return subgroupMatrixLoad<Rows, col_major>(&w_tile, offset, PITCH);
}

fn multiply(tokens: Tokens, rows: Rows, sums: Products) -> Products {
  return subgroupMatrixMultiplyAccumulate(tokens, rows, sums);
}

fn store_products(offset: u32, sums: Products) {
  subgroupMatrixStore<row_major>(&staging, offset, sums, N);
}
