#pragma once

#include "tests/golden/op_call.h"

namespace tessera::golden {

/// A stored case of an operator: what to call, and the results.
struct OpCase {
  std::string name, op, prefix;  // prefix: what the names of its hashed tensors begin with
  Json entry;                    // inputs (shape, lo, hi, perhaps const), attrs, results
  std::map<std::string, Reference> stored;
};

/// Throws ValueError where an array of the listing is not in the file, or not in shape.
void check_listing(const OpCase& c);

/// Runs a case in f64 and f32 and compares outputs and stored gradients; failures are one line
/// each. f64 is held to the precision of the files, or to f32's where a reference computed in that.
enum class Computed { in_f64, in_f32 };
void run_case(const OpCase& c, const OpTable& table, Computed computed);

}  // namespace tessera::golden
