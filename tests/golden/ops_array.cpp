#include "ops/index/concat.h"
#include "ops/index/cumsum.h"
#include "ops/linalg/matmul.h"
#include "ops/norm/softmax.h"
#include "ops/reduce/extreme.h"
#include "ops/reduce/moments.h"
#include "ops/reduce/sum.h"
#include "tests/golden/op_call.h"

namespace tessera::golden {
namespace {

Dims axes(const OpCall& c) { return c.has("dims") ? c.dims("dims") : Dims(); }
bool keepdim(const OpCall& c) { return c.attribute("keepdim", false); }

}  // namespace

void add_array_ops(OpTable& table) {
  table["sum"] = {{}, [](const OpCall& c) { return sum(c.input("x"), axes(c), keepdim(c)); }};
  table["mean"] = {{}, [](const OpCall& c) { return mean(c.input("x"), axes(c), keepdim(c)); }};
  table["amax"] = {{}, [](const OpCall& c) { return amax(c.input("x"), axes(c), keepdim(c)); }};
  table["var"] = {{}, [](const OpCall& c) {
                    return var(c.input("x"), axes(c), c.attribute("unbiased", true), keepdim(c));
                  }};
  table["concat"] = {
      {}, [](const OpCall& c) { return concat(c.all_inputs(), c.attribute<int64_t>("dim")); }};
  table["cumsum"] = {
      {}, [](const OpCall& c) { return cumsum(c.input("x"), c.attribute<int64_t>("dim")); }};
  table["softmax"] = {
      {}, [](const OpCall& c) { return softmax(c.input("x"), c.attribute<int64_t>("dim")); }};
  table["log_softmax"] = {
      {}, [](const OpCall& c) { return log_softmax(c.input("x"), c.attribute<int64_t>("dim")); }};
  table["matmul"] = {{}, [](const OpCall& c) { return matmul(c.input("a"), c.input("b")); }};
  table["linear"] = {
      {}, [](const OpCall& c) { return linear(c.input("x"), c.input("w"), c.optional("b")); }};
}

}  // namespace tessera::golden
