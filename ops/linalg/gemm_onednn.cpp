#if !defined(TESSERA_REFERENCE)

#include <array>
#include <dnnl.hpp>
#include <unordered_map>

#include "ops/cpu/onednn.h"
#include "ops/linalg/gemm.h"
#include "tensor/view.h"

namespace tessera::cpu {
namespace {

using Desc = dnnl::memory::desc;

// One operand as oneDNN takes it: batch 1 broadcasts; the matrix has one unit stride.
struct Operand {
  Tensor tensor;
  std::array<int64_t, 3> dims, strides;

  explicit Operand(const Tensor& t) : tensor(t) {
    if (!describe()) {
      tensor = view::clone(t);
      describe();
    }
  }

  bool describe() {
    const Shape& s = tensor.shape();
    const Strides& st = tensor.strides();
    const int64_t rows = s[1], cols = s[2];
    int64_t sr = st[1], sc = st[2];
    // An axis of size 1 has no stride of its own: give it the one of a dense matrix.
    if (cols == 1) sc = sr == 1 && rows > 1 ? rows : 1;
    if (rows == 1) sr = sc == 1 ? cols : 1;
    const bool row_major = sc == 1 && sr >= cols, column_major = sr == 1 && sc >= rows;
    if (!row_major && !column_major) return false;
    const int64_t matrix = row_major ? sr * rows : sc * cols;
    const bool one = s[0] == 1 || st[0] == 0;
    dims = {one ? 1 : s[0], rows, cols};
    strides = {one ? matrix : st[0], sr, sc};
    return true;
  }
  Desc desc() const {
    return {
        {dims.begin(), dims.end()}, dnnl::memory::data_type::f32, {strides.begin(), strides.end()}};
  }
};

struct Key {
  std::array<int64_t, 16> v;
  bool operator==(const Key&) const = default;
};
struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t h = 0xCBF29CE484222325u;
    for (int64_t e : key.v) h = (h ^ static_cast<uint64_t>(e)) * 0x100000001B3u;
    return static_cast<size_t>(h ^ h >> 32);
  }
};

struct Primitive {
  Desc a, b, bias, y;
  dnnl::matmul run;
};

Primitive make(const Operand& a, const Operand& b, bool has_bias, const Tensor& y) {
  using dnnl::memory;
  const int64_t n = y.size(2);
  Primitive p;
  p.a = a.desc();
  p.b = b.desc();
  p.y = Desc({y.size(0), y.size(1), n}, memory::data_type::f32, memory::format_tag::abc);
  dnnl::matmul::desc desc(p.a, p.b, p.y);
  if (has_bias) {
    p.bias = Desc({1, 1, n}, memory::data_type::f32, memory::format_tag::abc);
    desc = dnnl::matmul::desc(p.a, p.b, p.bias, p.y);
  }
  p.run = dnnl::matmul(dnnl::matmul::primitive_desc(desc, onednn::engine()));
  return p;
}

}  // namespace

void gemm_onednn(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y) {
  constexpr size_t kMaxCached = 512;
  thread_local std::unordered_map<Key, Primitive, KeyHash> cache;
  const Operand pa(a), pb(b);
  if (pa.dims[0] == 1 && pb.dims[0] == 1 && y.size(0) > 1) {
    // oneDNN has no product that broadcasts both operands: all batches are the first one.
    Tensor first = view::slice(y, 0, 0, 1), rest = view::slice(y, 0, 1, y.size(0));
    gemm_onednn(view::slice(a, 0, 0, 1), view::slice(b, 0, 0, 1), bias, first);
    return copy_(rest, first);
  }
  Key key{};
  for (size_t i = 0; i < 3; ++i) {
    key.v[i] = pa.dims[i];
    key.v[3 + i] = pa.strides[i];
    key.v[6 + i] = pb.dims[i];
    key.v[9 + i] = pb.strides[i];
  }
  key.v[12] = y.size(0);
  key.v[13] = bias.defined();
  key.v[14] = onednn::use_our_threads();
  auto found = cache.find(key);
  if (found == cache.end()) {
    if (cache.size() >= kMaxCached) cache.clear();  // shapes that never come back
    found = cache.emplace(key, make(pa, pb, bias.defined(), y)).first;
  }
  const Primitive& p = found->second;
  const dnnl::engine& engine = onednn::engine();
  std::unordered_map<int, dnnl::memory> args{
      {DNNL_ARG_SRC, {p.a, engine, pa.tensor.raw_data()}},
      {DNNL_ARG_WEIGHTS, {p.b, engine, pb.tensor.raw_data()}},
      {DNNL_ARG_DST, {p.y, engine, y.raw_data()}}};
  if (bias.defined()) args.emplace(DNNL_ARG_BIAS, dnnl::memory(p.bias, engine, bias.raw_data()));
  p.run.execute(onednn::stream(), args);
  onednn::stream().wait();
}

}  // namespace tessera::cpu

#endif
