# C types that several kernels share. Their numpy twins are built in _common.pyx.

ctypedef unsigned char uint8_t
ctypedef short int16_t
ctypedef int int32_t
ctypedef unsigned int uint32_t
ctypedef long long int64_t

# Raw features may come in either width; thresholds are always compared in float64.
ctypedef fused raw_t:
    float
    double

# 256 bins: 255 values at most, and one for what is missing. Hence uint8 and eight 32-bit words.
cdef enum:
    MAX_BINS = 256
    BITSET_WORDS = 8

# One node of a tree, 40 bytes, so that a walk touches one cache line a level.
cdef packed struct node_t:
    double threshold        # raw value: x <= threshold goes left
    int32_t feature         # column of X; -1 in a leaf
    int32_t left            # position of the left child in the tree's node array
    int32_t right
    int32_t leaf            # row of the leaf values; -1 in an inner node
    int32_t bitset          # row of the category bitsets; -1 in a numeric split
    int32_t depth
    uint8_t bin_threshold   # binned value: bin <= bin_threshold goes left
    uint8_t missing_left    # where missing values go
    uint8_t missing_bin     # the bin that means missing, for walks on binned data
    uint8_t padding[5]      # to a multiple of 8, so that thresholds stay aligned

# The best split of one feature of one node.
cdef packed struct split_t:
    double gain                     # -inf: none allowed
    int32_t feature
    int32_t bin_threshold           # the last bin that goes left; unused by category splits
    int32_t n_left                  # rows that go left
    int32_t missing_left            # 1: missing values go left
    int32_t is_categorical
    uint32_t bitset[BITSET_WORDS]   # category bins that go left
    int32_t padding                 # to a multiple of 8

# What the split search must know about a feature.
cdef packed struct feature_t:
    int32_t n_bins          # bins of present values; the missing bin, if any, is number n_bins
    int32_t has_missing
    int32_t is_categorical
