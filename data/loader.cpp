#include "data/loader.h"

#include <algorithm>
#include <numeric>
#include <string_view>
#include <utility>

#include "tensor/parallel.h"

namespace tessera::data {
namespace {

// Streams of the seed, so that the order and the augmentation never share numbers.
constexpr uint64_t kOrderStream = 1, kSampleStream = 2;

std::string what_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "unknown error";
  }
}

bool is_io_error(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const IoError&) {
    return true;
  } catch (...) {
    return false;
  }
}

/// Every message that leaves the loader names the sample's file.
std::exception_ptr with_name(const std::exception_ptr& error, const std::string& name) {
  const std::string text = what_of(error);
  if (text.find(name) != std::string::npos) return error;
  const std::string named = cat(name, ": ", text);
  try {
    std::rethrow_exception(error);
  } catch (const IoError&) {
    return std::make_exception_ptr(IoError(named));
  } catch (const OutOfMemoryError&) {
    return std::make_exception_ptr(OutOfMemoryError(named));
  } catch (const ShapeError&) {
    return std::make_exception_ptr(ShapeError(named));
  } catch (const ValueError&) {
    return std::make_exception_ptr(ValueError(named));
  } catch (...) {
    return std::make_exception_ptr(Error(named));
  }
}

}  // namespace

Loader::Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options)
    : dataset_(std::move(dataset)), options_(std::move(options)) {
  const LoaderOptions& o = options_;
  TESSERA_CHECK(ValueError, dataset_ && dataset_->size() > 0, "loader: the dataset is empty");
  TESSERA_CHECK(ValueError, o.batch_size >= 1 && o.prefetch >= 1 && o.workers >= 0,
                "loader: batch_size ", o.batch_size, ", prefetch ", o.prefetch, ", workers ",
                o.workers, " (expected at least 1, 1 and 0)");
  const int64_t samples = static_cast<int64_t>(epoch_order(0).size());
  batches_ =
      o.drop_last ? samples / o.batch_size : samples / o.batch_size + (samples % o.batch_size != 0);
  TESSERA_CHECK(ValueError, batches_ > 0, "loader: batch_size ", o.batch_size,
                " is larger than the ", samples, " samples, and drop_last leaves no batch");
  // More slots than batches would never be used.
  options_.prefetch = static_cast<int>(std::min<int64_t>(o.prefetch, batches_));
  slots_.resize(static_cast<size_t>(options_.prefetch));
  try {
    for (int i = 0; i < o.workers; ++i) threads_.emplace_back([this] { work(); });
  } catch (...) {  // the system's limit on threads
    stop();
    throw;
  }
}

Loader::~Loader() { stop(); }

void Loader::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    ++generation_;
  }
  work_available_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::vector<int64_t> Loader::epoch_order(int64_t epoch) const {
  Generator generator =
      Generator(options_.seed).fork(kOrderStream).fork(static_cast<uint64_t>(epoch));
  if (options_.sampler) {
    std::vector<int64_t> order = options_.sampler(epoch, generator);
    for (const int64_t i : order)
      TESSERA_CHECK(ValueError, i >= 0 && i < dataset_->size(),
                    "loader: the sampler returned index ", i, " of a dataset of ",
                    dataset_->size());
    return order;
  }
  std::vector<int64_t> order(static_cast<size_t>(dataset_->size()));
  std::iota(order.begin(), order.end(), 0);
  if (options_.shuffle)  // Fisher-Yates
    for (size_t i = order.size() - 1; i > 0; --i)
      std::swap(order[i],
                order[static_cast<size_t>(generator.randint(static_cast<int64_t>(i) + 1))]);
  return order;
}

void Loader::start_epoch(int64_t epoch, int64_t first_batch) {
  TESSERA_CHECK(ValueError, epoch >= 0 && first_batch >= 0 && first_batch <= batches_,
                "loader: cannot start epoch ", epoch, " at batch ", first_batch, " of ", batches_);
  std::vector<int64_t> order = epoch_order(epoch);
  const int64_t samples = static_cast<int64_t>(order.size());
  const int64_t most = batches_ * options_.batch_size;
  TESSERA_CHECK(ValueError,
                options_.drop_last ? samples >= most
                                   : samples <= most && samples > most - options_.batch_size,
                "loader: the sampler returned ", samples, " indices for epoch ", epoch,
                ", which does not make ", batches_, " batches as in epoch 0");
  skipped_.clear();
  {
    const std::lock_guard lock(mutex_);
    ++generation_;
    epoch_ = epoch;
    order_ = std::move(order);
    consumed_ = opened_ = task_batch_ = first_batch;
    task_item_ = 0;
    end_ = batches_;
    open_slots();
  }
  work_available_.notify_all();
}

std::vector<int64_t> Loader::batch_indices(int64_t batch) const {
  const int64_t first = batch * options_.batch_size;
  const int64_t last = std::min(first + options_.batch_size, static_cast<int64_t>(order_.size()));
  return {order_.begin() + first, order_.begin() + last};
}

/// Gives every batch that may be loaded now its place in the ring. Without workers next() loads on
/// its own and the ring stays unused.
void Loader::open_slots() {
  if (options_.workers == 0) return;
  for (; opened_ < std::min(end_, consumed_ + options_.prefetch); ++opened_) {
    Slot fresh;
    fresh.indices = batch_indices(opened_);
    fresh.items.resize(fresh.indices.size());
    fresh.pending = static_cast<int64_t>(fresh.indices.size());
    slot(opened_) = std::move(fresh);
  }
}

Loader::Task Loader::take_task() {
  const std::vector<int64_t>& indices = slot(task_batch_).indices;
  // Small enough to keep all workers on the batch that is needed first, large enough that the lock
  // does not matter.
  const size_t share = indices.size() / (4 * static_cast<size_t>(options_.workers));
  const size_t count = std::min(std::max<size_t>(share, 1), indices.size() - task_item_);
  const auto first = indices.begin() + static_cast<std::ptrdiff_t>(task_item_);
  Task task{generation_,
            epoch_,
            task_batch_,
            task_item_,
            {first, first + static_cast<std::ptrdiff_t>(count)}};
  task_item_ += count;
  if (task_item_ == indices.size()) {
    ++task_batch_;
    task_item_ = 0;
  }
  return task;
}

void Loader::work() {
  const SerialGuard serial;  // the workers are the parallelism
  while (true) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      work_available_.wait(lock, [this] { return stop_ || task_batch_ < opened_; });
      if (stop_) return;
      task = take_task();
    }
    Result failure;
    try {
      run_task(task);
    } catch (...) {  // out of memory: a sample's own errors are in its Item
      failure.error = std::current_exception();
    }
    if (failure.error) deliver(task, std::move(failure));
  }
}

void Loader::run_task(const Task& task) {
  std::vector<Item> loaded;
  for (const int64_t index : task.indices) {
    if (generation_ != task.generation) return;  // abandoned
    loaded.push_back(load(task.epoch, index));
  }
  std::vector<int64_t> indices;
  std::vector<Item> items;
  {
    const std::lock_guard lock(mutex_);
    if (generation_ != task.generation) return;
    Slot& s = slot(task.batch);
    std::move(loaded.begin(), loaded.end(),
              s.items.begin() + static_cast<std::ptrdiff_t>(task.first));
    s.pending -= static_cast<int64_t>(loaded.size());
    if (s.pending > 0) return;
    indices = std::move(s.indices);
    items = std::move(s.items);
  }
  deliver(task, assemble(task.epoch, task.batch, std::move(indices), std::move(items)));
}

void Loader::deliver(const Task& task, Result result) {
  {
    const std::lock_guard lock(mutex_);
    if (generation_ != task.generation) return;
    slot(task.batch).result = std::move(result);
  }
  batch_ready_.notify_one();
}

Loader::Item Loader::load(int64_t epoch, int64_t index) const {
  const Generator generator = Generator(options_.seed)
                                  .fork(kSampleStream)
                                  .fork(static_cast<uint64_t>(epoch))
                                  .fork(static_cast<uint64_t>(index));
  try {
    return {dataset_->get(index, generator), nullptr};
  } catch (...) {
    return {std::nullopt, with_name(std::current_exception(), dataset_->describe(index))};
  }
}

Loader::Result Loader::assemble(int64_t epoch, int64_t number, std::vector<int64_t> indices,
                                std::vector<Item> items) const {
  Result result;
  Batch& batch = result.batch;
  batch.epoch = epoch;
  batch.number = number;
  std::vector<const Sample*> samples;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].sample) {
      samples.push_back(&*items[i].sample);
      batch.indices.push_back(indices[i]);
    } else if (options_.on_corrupt == OnCorrupt::kSkip && is_io_error(items[i].error)) {
      result.skipped.push_back({indices[i], what_of(items[i].error)});
    } else {
      result.error = std::move(items[i].error);  // one thread at a time holds an exception
      return result;
    }
  }
  if (samples.empty()) return result;
  const FloatImage& first = samples[0]->image;
  const int64_t n = static_cast<int64_t>(samples.size());
  batch.images = empty({n, first.height, first.width, first.channels});
  batch.labels = empty({n}, DType::i64);
  float* pixels = batch.images.data<float>();
  int64_t* labels = batch.labels.data<int64_t>();
  for (size_t i = 0; i < samples.size(); ++i) {
    const FloatImage& image = samples[i]->image;
    if (image.height != first.height || image.width != first.width ||
        image.channels != first.channels) {
      result.error = std::make_exception_ptr(ShapeError(
          cat("loader: a batch needs images of one size, got ", first.height, " x ", first.width,
              " x ", first.channels, " from ", dataset_->describe(batch.indices[0]), " and ",
              image.height, " x ", image.width, " x ", image.channels, " from ",
              dataset_->describe(batch.indices[i]))));
      return result;
    }
    pixels = std::copy(image.pixels.begin(), image.pixels.end(), pixels);
    labels[i] = samples[i]->label;
  }
  return result;
}

/// The result of batch `consumed_`, which is below `end_`.
Loader::Result Loader::next_result() {
  if (options_.workers == 0) {
    std::vector<int64_t> indices = batch_indices(consumed_);
    std::vector<Item> items;
    for (const int64_t index : indices) items.push_back(load(epoch_, index));
    return assemble(epoch_, consumed_++, std::move(indices), std::move(items));
  }
  std::unique_lock lock(mutex_);
  Slot& s = slot(consumed_);
  batch_ready_.wait(lock, [&s] { return s.result.has_value(); });
  Result result = std::move(*s.result);
  s.result.reset();
  ++consumed_;
  open_slots();
  lock.unlock();
  work_available_.notify_all();
  return result;
}

std::optional<Batch> Loader::next() {
  // Only this thread changes consumed_ and end_, so it may read them without the lock.
  while (consumed_ < end_) {
    Result result = next_result();
    skipped_.insert(skipped_.end(), std::make_move_iterator(result.skipped.begin()),
                    std::make_move_iterator(result.skipped.end()));
    if (result.error) {
      const std::lock_guard lock(mutex_);
      ++generation_;
      end_ = opened_ = task_batch_ = 0;
      std::rethrow_exception(result.error);
    }
    if (result.batch.size() > 0) return std::move(result.batch);
  }
  return std::nullopt;
}

}  // namespace tessera::data
