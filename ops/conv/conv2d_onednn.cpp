#if !defined(TESSERA_REFERENCE)

#include <dnnl.hpp>

#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "ops/conv/conv2d_cpu.h"
#include "ops/cpu/onednn.h"
#include "ops/cpu/packed_weights.h"

namespace tessera::conv::onednn {
namespace {

using dnnl::algorithm;
using dnnl::memory;
using dnnl::prop_kind;
using Desc = memory::desc;
using cpu::onednn::engine;
using cpu::onednn::scratch;
using cpu::onednn::Scratch;
using cpu::onednn::stream;

// What a forward plan does after the sum of products; its tensors are arguments.
struct PostOps {
  bool bias = false, residual = false;
  Activation activation = Activation::none;
  bool operator==(const PostOps&) const = default;
};

struct Key {
  Pass pass;
  PostOps post;
  int threads;
  ConvShape shape;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t hash = 0xCBF29CE484222325u;
    const auto mix = [&hash](int64_t v) {
      hash = (hash ^ static_cast<uint64_t>(v)) * 0x100000001B3u;
      hash ^= hash >> 29;
    };
    const ConvShape& s = key.shape;
    for (int64_t v : {s.n, s.h, s.w, s.c, s.o, s.kh, s.kw, s.ho, s.wo, s.sh, s.sw, s.ph, s.pw, s.dh,
                      s.dw, s.groups})
      mix(v);
    mix(static_cast<int64_t>(key.pass) * 4 + key.post.bias + 2 * key.post.residual);
    mix(static_cast<int64_t>(key.post.activation));
    mix(key.threads);
    return static_cast<size_t>(hash);
  }
};

// A convolution ready to run. `weights` is the layout oneDNN asks for, `plain` ours.
struct Plan {
  dnnl::primitive convolution;
  Desc input, output, weights, plain, bias, scratchpad;
  dnnl::reorder reorder;  // plain to weights, for the weight gradient the other way
  bool packed = false;    // the two layouts differ
  std::string layout;     // of `weights`, as a key: the descriptors' bytes
  std::string implementation;
  bool vectorised = false;
};

struct Descs {
  Desc x, w_any, w_plain, y, bias;
  memory::dims strides, dilation, pad_before, pad_after;
};

Descs describe(const ConvShape& s, bool bias) {
  using Tag = memory::format_tag;
  constexpr auto f32 = memory::data_type::f32;
  memory::dims w{s.og(), s.cg(), s.kh, s.kw};
  if (s.groups > 1) w.insert(w.begin(), s.groups);
  Descs d;
  d.x = Desc({s.n, s.c, s.h, s.w}, f32, Tag::nhwc);
  d.y = Desc({s.n, s.o, s.ho, s.wo}, f32, Tag::nhwc);
  d.w_any = Desc(w, f32, Tag::any);
  d.w_plain = Desc(w, f32, s.groups > 1 ? Tag::gohwi : Tag::ohwi);
  d.bias = bias ? Desc({s.o}, f32, Tag::x) : Desc();
  d.strides = {s.sh, s.sw};
  d.dilation = {s.dh - 1, s.dw - 1};
  d.pad_before = {s.ph, s.pw};
  // What the windows really reach: less than the padding where the last stride does not fit.
  d.pad_after = {(s.ho - 1) * s.sh + (s.kh - 1) * s.dh + 1 - s.h - s.ph,
                 (s.wo - 1) * s.sw + (s.kw - 1) * s.dw + 1 - s.w - s.pw};
  return d;
}

template <class Primitive, class PrimitiveDesc>
void fill_plan(Plan& plan, const PrimitiveDesc& pd) {
  plan.implementation = pd.impl_info_str();
  const std::string_view name = plan.implementation;
  plan.vectorised = name.find("ref") == name.npos && name.find("gemm") != 0;
  plan.convolution = Primitive(pd);
  plan.scratchpad = pd.scratchpad_desc();
}

std::shared_ptr<Plan> make_onednn_plan(const Key& key) {
  const Descs d = describe(key.shape, key.post.bias);
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops post;
  if (key.post.residual) post.append_binary(algorithm::binary_add, d.y);
  if (key.post.activation == Activation::relu)
    post.append_eltwise(1.0f, algorithm::eltwise_relu, 0.0f, 0.0f);
  if (key.post.activation == Activation::relu6)
    post.append_eltwise(1.0f, algorithm::eltwise_clip, 0.0f, 6.0f);
  attr.set_post_ops(post);
  const auto direct = algorithm::convolution_direct;
  const bool inference = key.pass == Pass::forward;
  const dnnl::convolution_forward::desc forward_desc(
      inference ? prop_kind::forward_inference : prop_kind::forward_training, direct, d.x, d.w_any,
      d.bias, d.y, d.strides, d.dilation, d.pad_before, d.pad_after);
  const dnnl::convolution_forward::primitive_desc forward(forward_desc, attr, engine());
  auto plan = std::make_shared<Plan>();
  plan->plain = d.w_plain;
  plan->bias = d.bias;
  plan->input = d.x;
  plan->output = d.y;
  if (inference) {
    fill_plan<dnnl::convolution_forward>(*plan, forward);
    plan->weights = forward.weights_desc();
  } else if (key.pass == Pass::input_grad) {
    const dnnl::convolution_backward_data::primitive_desc pd(
        {direct, d.x, d.w_any, d.y, d.strides, d.dilation, d.pad_before, d.pad_after}, attr,
        engine(), forward);
    fill_plan<dnnl::convolution_backward_data>(*plan, pd);
    plan->weights = pd.weights_desc();
  } else {
    const dnnl::convolution_backward_weights::primitive_desc pd(
        {direct, d.x, d.w_any, d.y, d.strides, d.dilation, d.pad_before, d.pad_after}, attr,
        engine(), forward);
    fill_plan<dnnl::convolution_backward_weights>(*plan, pd);
    plan->weights = pd.diff_weights_desc();
  }
  plan->packed = plan->weights != plan->plain;
  if (plan->packed) {
    const bool unpack = key.pass == Pass::weight_grad;
    const Desc &from = unpack ? plan->weights : plan->plain,
               &to = unpack ? plan->plain : plan->weights;
    plan->reorder = dnnl::reorder(dnnl::reorder::primitive_desc(engine(), from, engine(), to));
    for (const Desc* desc : {&from, &to})
      plan->layout.append(reinterpret_cast<const char*>(&desc->data), sizeof desc->data);
  }
  return plan;
}

// A plan that is not vectorised where oneDNN has no implementation at all.
std::shared_ptr<const Plan> make_plan(const Key& key) {
  try {
    return make_onednn_plan(key);
  } catch (const dnnl::error& e) {
    if (e.status != dnnl_unimplemented && e.status != dnnl_invalid_arguments) throw;
    return std::make_shared<Plan>();
  }
}

// The most recently used plans. Networks need some hundred; images of ever new sizes push the
// oldest out.
class PlanCache {
 public:
  std::shared_ptr<const Plan> get(const Key& key) {
    std::lock_guard lock(mutex_);
    if (const auto it = index_.find(key); it != index_.end()) {
      recent_.splice(recent_.begin(), recent_, it->second);
      return it->second->second;
    }
    recent_.emplace_front(key, make_plan(key));
    index_[key] = recent_.begin();
    if (recent_.size() > kCapacity) {
      index_.erase(recent_.back().first);
      recent_.pop_back();
    }
    return recent_.front().second;
  }

 private:
  static constexpr size_t kCapacity = 2048;
  using Entry = std::pair<Key, std::shared_ptr<const Plan>>;
  std::mutex mutex_;
  std::list<Entry> recent_;
  std::unordered_map<Key, std::list<Entry>::iterator, KeyHash> index_;
};

PlanCache& plans() {
  static PlanCache cache;
  return cache;
}

std::shared_ptr<const Plan> plan_for(const ConvShape& s, Pass pass, const PostOps& post = {}) {
  return plans().get({pass, post, cpu::onednn::use_our_threads(), s});
}

// Null where the filters are used as they are.
std::shared_ptr<Storage> pack(const Plan& plan, const Tensor& w) {
  if (!plan.packed) return nullptr;
  return cpu::packed_weights(w, plan.layout, plan.weights.get_size(), [&](void* target) {
    memory from(plan.plain, engine(), w.raw_data()), to(plan.weights, engine(), target);
    plan.reorder.execute(stream(), from, to);
    stream().wait();
  });
}

using Arguments = std::unordered_map<int, memory>;

void execute(const Plan& plan, Arguments arguments) {
  if (const size_t bytes = plan.scratchpad.get_size(); bytes > 0)
    arguments[DNNL_ARG_SCRATCHPAD] =
        memory(plan.scratchpad, engine(), scratch(Scratch::scratchpad, bytes)->data);
  plan.convolution.execute(stream(), arguments);
  stream().wait();
}

memory constant(const Desc& desc, const void* data) {
  return memory(desc, engine(), const_cast<void*>(data));
}

}  // namespace

bool forward(const ConvShape& s, const float* x, const Tensor& w, const ConvEpilogue& epilogue,
             float* y) {
  const Tensor &bias = epilogue.bias, &residual = epilogue.residual;
  const auto plan =
      plan_for(s, Pass::forward, {bias.defined(), residual.defined(), epilogue.activation});
  if (!plan->vectorised) return false;
  const auto packed = pack(*plan, w);
  Arguments arguments{
      {DNNL_ARG_SRC, constant(plan->input, x)},
      {DNNL_ARG_WEIGHTS, constant(plan->weights, packed ? packed->data : w.raw_data())},
      {DNNL_ARG_DST, constant(plan->output, y)}};
  if (bias.defined()) arguments[DNNL_ARG_BIAS] = constant(plan->bias, bias.raw_data());
  if (residual.defined())
    arguments[DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1] =
        constant(plan->output, residual.raw_data());
  execute(*plan, std::move(arguments));
  return true;
}

bool input_grad(const ConvShape& s, const float* g, const Tensor& w, float* gx) {
  const auto plan = plan_for(s, Pass::input_grad);
  if (!plan->vectorised) return false;
  const auto packed = pack(*plan, w);
  execute(*plan, {{DNNL_ARG_DIFF_DST, constant(plan->output, g)},
                  {DNNL_ARG_WEIGHTS, constant(plan->weights, packed ? packed->data : w.raw_data())},
                  {DNNL_ARG_DIFF_SRC, constant(plan->input, gx)}});
  return true;
}

bool weight_grad(const ConvShape& s, const float* g, const float* x, float* gw) {
  const auto plan = plan_for(s, Pass::weight_grad);
  if (!plan->vectorised) return false;
  memory blocked = constant(plan->weights,
                            plan->packed ? scratch(Scratch::result, plan->weights.get_size())->data
                                         : static_cast<void*>(gw));
  execute(*plan, {{DNNL_ARG_DIFF_DST, constant(plan->output, g)},
                  {DNNL_ARG_SRC, constant(plan->input, x)},
                  {DNNL_ARG_DIFF_WEIGHTS, blocked}});
  if (plan->packed) {
    memory plain = constant(plan->plain, gw);
    plan->reorder.execute(stream(), blocked, plain);
    stream().wait();
  }
  return true;
}

std::string implementation(const ConvShape& s, Pass pass) {
  return plan_for(s, pass)->implementation;
}

}  // namespace tessera::conv::onednn

#endif
