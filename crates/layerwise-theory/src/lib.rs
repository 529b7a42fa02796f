//! Closed forms: contraction factors, floors, alignments, transfer bounds.
