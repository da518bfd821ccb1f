/* What this machine can do at most, for benchmarks/kernels.py to compare with.

   cells ROWS FEATURES THREADS          G histogram cells a second: rows in order, each thread its
                                        share of them and a histogram of its own; a byte is read, and
                                        a vector of LANES CELLs is read, added to and written
                                        (macros)
   triad NUMBERS THREADS                GB a second of a[i] = b[i] + 3 c[i]

   Prints the best of several runs. */

#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef LANES
#define LANES 8
#define CELL int32_t
#define ROW int16_t
#endif
enum { BINS = 255, STRIDE = BINS + 2, RUNS = 7, UNROLL = LANES <= 8 ? 4 : 2 };

typedef CELL cell_t __attribute__((vector_size(LANES * sizeof(CELL))));
typedef ROW row_t __attribute__((vector_size(LANES * sizeof(ROW))));

static void add_rows(const uint8_t *bins, const row_t *rows, cell_t *histogram, long first,
                     long last, int features) {
    for (long i = first; i < last; i++) {
        const uint8_t *bin = bins + i * features;
        cell_t vector = __builtin_convertvector(rows[i], cell_t);
        cell_t *strip = histogram, *cell[UNROLL], sum[UNROLL];
        int j = 0;
        for (; j + UNROLL <= features; j += UNROLL, strip += UNROLL * STRIDE) {
            for (int u = 0; u < UNROLL; u++) cell[u] = strip + u * STRIDE + bin[j + u];
            for (int u = 0; u < UNROLL; u++) sum[u] = *cell[u] + vector;
            for (int u = 0; u < UNROLL; u++) *cell[u] = sum[u];
        }
        for (; j < features; j++, strip += STRIDE) strip[bin[j]] += vector;
    }
}

static double cells(long n_rows, int features, int threads) {
    long size = (long)features * STRIDE;
    uint8_t *bins = aligned_alloc(64, (n_rows * features / 64 + 1) * 64);
    row_t *rows = aligned_alloc(64, n_rows * sizeof(row_t));
    cell_t *histograms = aligned_alloc(64, threads * size * sizeof(cell_t));
    uint64_t state = 88172645463325252u;
    double best = 1e9;
    for (long i = 0; i < n_rows * features; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        bins[i] = (state >> 20) % BINS;
    }
    memset(rows, 1, n_rows * sizeof(row_t));
    memset(histograms, 0, threads * size * sizeof(cell_t));
    for (int run = 0; run < RUNS; run++) {
        double start = omp_get_wtime();
#pragma omp parallel for num_threads(threads)
        for (int t = 0; t < threads; t++)
            add_rows(bins, rows, histograms + t * size, n_rows * t / threads,
                     n_rows * (t + 1) / threads, features);
        double seconds = omp_get_wtime() - start;
        if (seconds < best) best = seconds;
    }
    return 1e-9 * n_rows * features / best;
}

static double triad(long n, int threads) {
    double *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b), *c = malloc(n * sizeof *c);
    double best = 1e9;
    for (long i = 0; i < n; i++) a[i] = b[i] = c[i] = i;
    for (int run = 0; run < RUNS; run++) {
        double start = omp_get_wtime();
#pragma omp parallel for num_threads(threads)
        for (long i = 0; i < n; i++) a[i] = b[i] + 3 * c[i];
        double seconds = omp_get_wtime() - start;
        if (seconds < best) best = seconds;
    }
    return 32e-9 * n / best; /* a is read into the cache before it is written */
}

int main(int n_arguments, char **arguments) {
    if (n_arguments == 5 && !strcmp(arguments[1], "cells"))
        printf("%f\n", cells(atol(arguments[2]), atoi(arguments[3]), atoi(arguments[4])));
    else if (n_arguments == 4 && !strcmp(arguments[1], "triad"))
        printf("%f\n", triad(atol(arguments[2]), atoi(arguments[3])));
    else
        return 1;
    return 0;
}
