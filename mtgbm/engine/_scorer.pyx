"""Scores of many rows without walks: every split of a tree is tested, on many rows at a time.

The leaves of a tree are numbered from left to right and a row starts with a bit for each of them.
A split that sends the row right rules out the leaves on its left side; the exit leaf is the lowest
bit that is left, whatever order the splits come in:

                x0 <= 1             row (3, 0):  all alive            1 1 1 1
               /       \\            x0 <= 1 no: rules out 0, 1       1 1 0 0
          x1 <= 5     x1 <= 2       x1 <= 5 yes                      1 1 0 0
          0     1     2     3       x1 <= 2 yes: leaf 2              1 1 0 0

There is no branch and no pointer to follow, so vectors of rows are tested at once. Rows are taken
in blocks, turned into columns that stay in the cache:

    for each block of rows (threads)
        columns[used feature][row] of the block
        for each tree
            alive[row] &= mask of each split that sends the row right
            scores[row] += values[lowest bit of alive[row]]

Scores are float64 sums in the order of the trees, the same bits as those of the walks.

References: Lucchese et al., "QuickScorer: a Fast Algorithm to Rank Documents with Additive
Ensembles of Regression Trees", SIGIR 2015; "Exploiting CPU SIMD Extensions to Speed-up Document
Scoring with Tree Ensembles", SIGIR 2016.
"""

from cython.parallel cimport prange, threadid

from mtgbm.engine._common cimport MAX_BINS, int32_t, raw_t, uint32_t

cdef extern from *:
    """
    /* A vector as wide as the registers: wider ones are taken apart badly. */
    #if defined(__AVX2__)
    #include <immintrin.h>
    #endif
    #if defined(__AVX512F__)
    #define MTGBM_WIDTH 64
    #elif defined(__AVX2__)
    #define MTGBM_WIDTH 32
    #else
    #define MTGBM_WIDTH 16
    #endif
    #define MTGBM_VECTOR __attribute__((vector_size(MTGBM_WIDTH), may_alias))
    typedef float mtgbm_float_lanes MTGBM_VECTOR;
    typedef double mtgbm_double_lanes MTGBM_VECTOR;
    typedef int mtgbm_int_lanes MTGBM_VECTOR;
    typedef long long mtgbm_long_lanes MTGBM_VECTOR;
    typedef double mtgbm_values4 __attribute__((vector_size(32), may_alias));
    typedef unsigned long long mtgbm_uint64;

    /* `alive`, without the leaves outside `mask` where x goes right. NaN fails every comparison:
       it goes right in UNLESS_AT_MOST, left in IF_ABOVE. */
    #if defined(__AVX512F__)
    #define MTGBM_UNLESS_AT_MOST32(alive, x, t, mask) (mtgbm_int_lanes) _mm512_mask_and_epi32( \\
        (__m512i) (alive), _mm512_cmp_ps_mask((__m512) (x), _mm512_set1_ps(t), _CMP_NLE_UQ), \\
        (__m512i) (alive), _mm512_set1_epi32(mask))
    #define MTGBM_IF_ABOVE32(alive, x, t, mask) (mtgbm_int_lanes) _mm512_mask_and_epi32( \\
        (__m512i) (alive), _mm512_cmp_ps_mask((__m512) (x), _mm512_set1_ps(t), _CMP_GT_OQ), \\
        (__m512i) (alive), _mm512_set1_epi32(mask))
    #define MTGBM_UNLESS_AT_MOST64(alive, x, t, mask) (mtgbm_long_lanes) _mm512_mask_and_epi64( \\
        (__m512i) (alive), _mm512_cmp_pd_mask((__m512d) (x), _mm512_set1_pd(t), _CMP_NLE_UQ), \\
        (__m512i) (alive), _mm512_set1_epi64(mask))
    #define MTGBM_IF_ABOVE64(alive, x, t, mask) (mtgbm_long_lanes) _mm512_mask_and_epi64( \\
        (__m512i) (alive), _mm512_cmp_pd_mask((__m512d) (x), _mm512_set1_pd(t), _CMP_GT_OQ), \\
        (__m512i) (alive), _mm512_set1_epi64(mask))
    #else
    #define MTGBM_UNLESS_AT_MOST32(alive, x, t, mask) ((alive) & (((x) <= (t)) | (int) (mask)))
    #define MTGBM_IF_ABOVE32(alive, x, t, mask) ((alive) & (~((x) > (t)) | (int) (mask)))
    #define MTGBM_UNLESS_AT_MOST64(alive, x, t, mask) \\
        ((alive) & (((x) <= (t)) | (long long) (mask)))
    #define MTGBM_IF_ABOVE64(alive, x, t, mask) ((alive) & (~((x) > (t)) | (long long) (mask)))
    #endif
    /* Each lane's word of a bitset of 16 words, of which the first 9 are in use. */
    #if defined(__AVX512F__)
    #define MTGBM_WORDS(words, places) ((mtgbm_int_lanes) _mm512_permutexvar_epi32( \
        (__m512i) (places), *(const __m512i *) (words)))
    #elif defined(__AVX2__)
    #define MTGBM_WORDS(words, places) ((mtgbm_int_lanes) _mm256_blendv_epi8( \
        _mm256_permutevar8x32_epi32(*(const __m256i *) (words), (__m256i) (places)), \
        _mm256_set1_epi32((words)[8]), (__m256i) ((places) > 7)))
    #else
    #define MTGBM_WORDS(words, places) ((mtgbm_int_lanes) {(words)[(places)[0]], \
        (words)[(places)[1]], (words)[(places)[2]], (words)[(places)[3]]})
    #endif
    #define MTGBM_IN_SUBSET(words, places, bits) ((MTGBM_WORDS(words, places) & (bits)) != 0)
    #define MTGBM_ALL32 ((mtgbm_int_lanes) {0} - 1)
    #define MTGBM_ALL64 ((mtgbm_long_lanes) {0} - 1)
    """
    enum:
        MTGBM_WIDTH
    ctypedef unsigned long long uint64_t "mtgbm_uint64"
    # To Cython these are numbers; in C they are lanes.
    ctypedef float float_lanes_t "mtgbm_float_lanes"
    ctypedef double double_lanes_t "mtgbm_double_lanes"
    ctypedef int int_lanes_t "mtgbm_int_lanes"
    ctypedef long long long_lanes_t "mtgbm_long_lanes"
    ctypedef double values4_t "mtgbm_values4"
    int_lanes_t MTGBM_ALL32
    long_lanes_t MTGBM_ALL64
    int_lanes_t MTGBM_UNLESS_AT_MOST32(
        int_lanes_t alive, float_lanes_t x, float t, uint32_t mask) noexcept nogil
    int_lanes_t MTGBM_IF_ABOVE32(
        int_lanes_t alive, float_lanes_t x, float t, uint32_t mask) noexcept nogil
    long_lanes_t MTGBM_UNLESS_AT_MOST64(
        long_lanes_t alive, double_lanes_t x, double t, uint64_t mask) noexcept nogil
    long_lanes_t MTGBM_IF_ABOVE64(
        long_lanes_t alive, double_lanes_t x, double t, uint64_t mask) noexcept nogil
    # All bits of a lane are set where the place's word has the lane's bit.
    int_lanes_t MTGBM_IN_SUBSET(
        const uint32_t *words, int_lanes_t places, int_lanes_t bits) noexcept nogil
    int __builtin_ctz(uint32_t bits) noexcept nogil
    int __builtin_ctzll(uint64_t bits) noexcept nogil

cdef enum:
    BLOCK_ROWS = 128        # a multiple of the rows in VECTORS vectors of floats
    VECTORS = 8             # of rows in step: half of the registers of all but AVX-512
    CODE_WORDS = 16         # bits 0 .. 255: categories; 256: none of them; 257: missing

BLOCK, WORDS = BLOCK_ROWS, CODE_WORDS


# One split of a tree of at most 32 leaves, on columns of float32.
cdef packed struct narrow_t:
    float threshold
    uint32_t mask           # 0 for the leaves on the left side
    int32_t column
    int32_t bitset

# One split of a tree of at most 64 leaves, on columns of float64.
cdef packed struct wide_t:
    double threshold
    uint64_t mask
    int32_t column
    int32_t bitset

ctypedef fused test_t:
    narrow_t
    wide_t

ctypedef fused alive_t:
    uint32_t
    uint64_t

ctypedef fused column_t:
    float
    double

# What all blocks share, apart from the tests.
cdef struct forest_t:
    int n_trees
    const int32_t *ends         # of each tree: splits that send NaN right, left, on categories
    const int32_t *first_leaf
    const int32_t *features
    int n_features
    const int32_t *categorical
    int n_categorical
    const uint32_t *bitsets
    const double *values
    int n_outputs
    int lanes

# What a thread needs for a block.
cdef struct scratch_t:
    void *columns               # [feature][row]
    int32_t *places             # [categorical feature][row] word of the category in the bitsets
    int32_t *bits               # [categorical feature][row] bit of the category in that word
    void *alive                 # [row]
    int32_t *left               # [row] all bits set where the category goes left
    double *scores              # [row][lane]


cdef inline void _load_columns(
    const raw_t *X, Py_ssize_t row_stride, Py_ssize_t column_stride, Py_ssize_t n_rows,
    const forest_t *forest, column_t *columns,
) noexcept nogil:
    cdef:
        Py_ssize_t i
        int j
    for i in range(n_rows):
        for j in range(forest.n_features):
            columns[j * BLOCK_ROWS + i] = <column_t> X[
                i * row_stride + forest.features[j] * column_stride]


cdef inline void _load_places(
    const raw_t *X, Py_ssize_t row_stride, Py_ssize_t column_stride, Py_ssize_t n_rows,
    const forest_t *forest, const scratch_t *scratch,
) noexcept nogil:
    """Categories as places in the bitsets."""
    cdef:
        Py_ssize_t i
        int j
        double x
        int32_t code
    for j in range(forest.n_categorical):
        for i in range(n_rows):
            x = X[i * row_stride + forest.categorical[j] * column_stride]
            code = <int32_t> x if 0 <= x < MAX_BINS else MAX_BINS
            code = MAX_BINS + 1 if x != x else code
            scratch.places[j * BLOCK_ROWS + i] = code >> 5
            scratch.bits[j * BLOCK_ROWS + i] = <int32_t> (<uint32_t> 1 << (code & 31))


cdef inline void _narrow_group(
    const narrow_t *tests, int end_right, int end_left, const float *columns, uint32_t *result,
) noexcept nogil:
    """Eight vectors of rows through the numeric splits of a tree."""
    cdef:
        int i, v
        int_lanes_t alive[VECTORS]
        const float_lanes_t *x
    for v in range(VECTORS):
        alive[v] = MTGBM_ALL32
    for i in range(end_right):
        x = <const float_lanes_t *> (columns + tests[i].column * BLOCK_ROWS)
        for v in range(VECTORS):
            alive[v] = MTGBM_UNLESS_AT_MOST32(alive[v], x[v], tests[i].threshold, tests[i].mask)
    for i in range(end_right, end_left):
        x = <const float_lanes_t *> (columns + tests[i].column * BLOCK_ROWS)
        for v in range(VECTORS):
            alive[v] = MTGBM_IF_ABOVE32(alive[v], x[v], tests[i].threshold, tests[i].mask)
    for v in range(VECTORS):
        (<int_lanes_t *> result)[v] = alive[v]


cdef inline void _wide_group(
    const wide_t *tests, int end_right, int end_left, const double *columns, uint64_t *result,
) noexcept nogil:
    """`_narrow_group` in 64 bits."""
    cdef:
        int i, v
        long_lanes_t alive[VECTORS]
        const double_lanes_t *x
    for v in range(VECTORS):
        alive[v] = MTGBM_ALL64
    for i in range(end_right):
        x = <const double_lanes_t *> (columns + tests[i].column * BLOCK_ROWS)
        for v in range(VECTORS):
            alive[v] = MTGBM_UNLESS_AT_MOST64(alive[v], x[v], tests[i].threshold, tests[i].mask)
    for i in range(end_right, end_left):
        x = <const double_lanes_t *> (columns + tests[i].column * BLOCK_ROWS)
        for v in range(VECTORS):
            alive[v] = MTGBM_IF_ABOVE64(alive[v], x[v], tests[i].threshold, tests[i].mask)
    for v in range(VECTORS):
        (<long_lanes_t *> result)[v] = alive[v]


cdef inline void _numeric_splits(
    const test_t *tests, int end_right, int end_left, const void *columns, void *alive,
) noexcept nogil:
    """All rows of a block through the numeric splits of a tree."""
    cdef int row, group
    if test_t is narrow_t:
        for group in range(BLOCK_ROWS // (VECTORS * MTGBM_WIDTH // 4)):
            row = group * (VECTORS * MTGBM_WIDTH // 4)
            _narrow_group(tests, end_right, end_left, <const float *> columns + row,
                          <uint32_t *> alive + row)
    else:
        for group in range(BLOCK_ROWS // (VECTORS * MTGBM_WIDTH // 8)):
            row = group * (VECTORS * MTGBM_WIDTH // 8)
            _wide_group(tests, end_right, end_left, <const double *> columns + row,
                        <uint64_t *> alive + row)


cdef inline void _category_splits(
    const test_t *tests, int n_tests, const scratch_t *scratch, const uint32_t *bitsets,
    alive_t *alive,
) noexcept nogil:
    """All rows of a block through the category splits of a tree."""
    cdef:
        int i, row, v
        int_lanes_t *left = <int_lanes_t *> scratch.left
        alive_t mask
        const uint32_t *words
        const int_lanes_t *places
        const int_lanes_t *bits
    for i in range(n_tests):
        mask = <alive_t> tests[i].mask
        words = bitsets + tests[i].bitset * CODE_WORDS
        places = <const int_lanes_t *> (scratch.places + tests[i].column * BLOCK_ROWS)
        bits = <const int_lanes_t *> (scratch.bits + tests[i].column * BLOCK_ROWS)
        for v in range(BLOCK_ROWS * 4 // MTGBM_WIDTH):
            left[v] = MTGBM_IN_SUBSET(words, places[v], bits[v])
        for row in range(BLOCK_ROWS):
            # The sign fills 64 bits too.
            alive[row] &= mask | <alive_t> scratch.left[row]


cdef inline void _add_lanes(
    const double *values, const alive_t *alive, double *scores, const int lanes,
) noexcept nogil:
    """Add the values of the exit leaves; `lanes` is a literal: 1, 2 or 4."""
    cdef:
        int row, k
        Py_ssize_t leaf
    for row in range(BLOCK_ROWS):
        if alive_t is uint32_t:
            leaf = __builtin_ctz(alive[row])
        else:
            leaf = __builtin_ctzll(alive[row])
        if lanes == 4:
            (<values4_t *> scores)[row] += (<const values4_t *> values)[leaf]
        else:
            for k in range(lanes):
                scores[row * lanes + k] += values[leaf * lanes + k]


cdef inline void _add_wide(
    const double *values, const alive_t *alive, double *scores, int n_blocks,
) noexcept nogil:
    """`_add_lanes` for any multiple of 4 lanes."""
    cdef:
        int row, b
        Py_ssize_t leaf
    for row in range(BLOCK_ROWS):
        if alive_t is uint32_t:
            leaf = __builtin_ctz(alive[row])
        else:
            leaf = __builtin_ctzll(alive[row])
        for b in range(n_blocks):
            (<values4_t *> scores)[row * n_blocks + b] += (
                <const values4_t *> values)[leaf * n_blocks + b]


cdef inline void _add_values(
    const double *values, const alive_t *alive, double *scores, int lanes,
) noexcept nogil:
    """Choose the loop compiled for this number of lanes."""
    if lanes == 1:
        _add_lanes(values, alive, scores, 1)
    elif lanes == 2:
        _add_lanes(values, alive, scores, 2)
    elif lanes == 4:
        _add_lanes(values, alive, scores, 4)
    elif lanes == 8:
        _add_wide(values, alive, scores, 2)
    else:
        _add_wide(values, alive, scores, lanes // 4)


cdef inline void _all_trees(
    const test_t *tests, const forest_t *forest, const scratch_t *scratch, alive_t *alive,
) noexcept nogil:
    cdef:
        int t
        const int32_t *ends
        int start = 0
    for t in range(forest.n_trees):
        ends = forest.ends + 3 * t
        _numeric_splits(tests + start, ends[0] - start, ends[1] - start, scratch.columns, alive)
        if ends[2] > ends[1]:
            _category_splits(tests + ends[1], ends[2] - ends[1], scratch, forest.bitsets, alive)
        _add_values(forest.values + <Py_ssize_t> forest.first_leaf[t] * forest.lanes, alive,
                    scratch.scores, forest.lanes)
        start = ends[2]


cdef inline void _score_block(
    const raw_t *X, Py_ssize_t row_stride, Py_ssize_t column_stride, Py_ssize_t n_rows,
    const test_t *tests, const forest_t *forest, const scratch_t *scratch, double *scores,
) noexcept nogil:
    """The rows of a block; those beyond `n_rows` are computed in vain."""
    cdef:
        Py_ssize_t i
        int k, K = forest.n_outputs
    _load_places(X, row_stride, column_stride, n_rows, forest, scratch)
    for i in range(n_rows):
        for k in range(K):
            scratch.scores[i * forest.lanes + k] = scores[i * K + k]
    if test_t is narrow_t:
        _load_columns(X, row_stride, column_stride, n_rows, forest, <float *> scratch.columns)
        _all_trees(tests, forest, scratch, <uint32_t *> scratch.alive)
    else:
        _load_columns(X, row_stride, column_stride, n_rows, forest, <double *> scratch.columns)
        _all_trees(tests, forest, scratch, <uint64_t *> scratch.alive)
    for i in range(n_rows):
        for k in range(K):
            scores[i * K + k] = scratch.scores[i * forest.lanes + k]


cdef inline scratch_t _share_out(
    double *memory, Py_ssize_t size, int thread, const forest_t *forest,
) noexcept nogil:
    """A thread's part of the scratch memory: columns and bits as if they were 8 bytes wide."""
    cdef scratch_t scratch
    memory += thread * size
    scratch.scores = memory
    memory += BLOCK_ROWS * forest.lanes
    scratch.alive = memory
    memory += BLOCK_ROWS
    scratch.left = <int32_t *> memory
    memory += BLOCK_ROWS
    scratch.columns = memory
    memory += BLOCK_ROWS * forest.n_features
    scratch.places = <int32_t *> memory
    scratch.bits = scratch.places + BLOCK_ROWS * forest.n_categorical
    return scratch


def score_forest(
    const raw_t[:, :] X,                # IN (n_rows, n_features) raw values, any strides
    tests,                              # IN the splits of all trees, narrow_t or wide_t
    const int32_t[:, ::1] ends,         # IN (n_trees, 3) where in `tests` each kind of split ends
    const int32_t[::1] first_leaf,      # IN (n_trees,) row of each tree's leaf 0 in `values`
    const int32_t[::1] features,        # IN the column of X of each numeric column
    const int32_t[::1] categorical,     # IN the column of X of each column of categories
    const uint32_t[:, ::1] bitsets,     # IN (n_category_splits or 1, CODE_WORDS), aligned
    const double[:, ::1] values,        # IN (n_leaves, lanes), aligned, zeros after the outputs
    double[:, ::1] scratch,             # (n_threads, scratch size), aligned
    double[:, ::1] scores,              # IN OUT (n_rows, n_outputs)
    int n_threads,
):
    """Add every tree's values to the scores of raw rows."""
    cdef:
        Py_ssize_t n_rows = X.shape[0]
        Py_ssize_t n_blocks = (n_rows + BLOCK_ROWS - 1) // BLOCK_ROWS
        Py_ssize_t block, first
        Py_ssize_t row_stride = X.strides[0] // <Py_ssize_t> sizeof(raw_t)
        Py_ssize_t column_stride = X.strides[1] // <Py_ssize_t> sizeof(raw_t)
        const narrow_t[::1] narrow
        const wide_t[::1] wide
        bint is_narrow = tests.itemsize == sizeof(narrow_t)
        forest_t forest
        scratch_t own
    if is_narrow:
        narrow = tests
    else:
        wide = tests
    forest.n_trees = ends.shape[0]
    forest.ends = &ends[0, 0]
    forest.first_leaf = &first_leaf[0]
    forest.features = &features[0] if features.shape[0] else NULL
    forest.n_features = features.shape[0]
    forest.categorical = &categorical[0] if categorical.shape[0] else NULL
    forest.n_categorical = categorical.shape[0]
    forest.bitsets = &bitsets[0, 0]
    forest.values = &values[0, 0]
    forest.n_outputs = scores.shape[1]
    forest.lanes = values.shape[1]
    for block in prange(n_blocks, nogil=True, schedule="dynamic", chunksize=16,
                        num_threads=n_threads):
        first = block * BLOCK_ROWS
        own = _share_out(&scratch[0, 0], scratch.shape[1], threadid(), &forest)
        if is_narrow:
            _score_block(&X[0, 0] + first * row_stride, row_stride, column_stride,
                         min(<Py_ssize_t> BLOCK_ROWS, n_rows - first), &narrow[0], &forest, &own,
                         &scores[first, 0])
        else:
            _score_block(&X[0, 0] + first * row_stride, row_stride, column_stride,
                         min(<Py_ssize_t> BLOCK_ROWS, n_rows - first), &wide[0], &forest, &own,
                         &scores[first, 0])
