#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "data/dataset.h"
#include "tensor/tensor.h"

namespace tessera::data {

/// What to do with a file that cannot be read or decoded (IoError). Other errors are always fatal.
enum class OnCorrupt {
  kThrow,  ///< next() throws, naming the file
  kSkip,   ///< the batch is smaller by the sample, and Loader::skipped() lists it
};

struct LoaderOptions {
  int64_t batch_size = 32;
  int workers = 2;   // threads; 0 loads in next() on the calling thread
  int prefetch = 2;  // batches being loaded or waiting, the bound on memory; at least 1
  bool shuffle = false;
  bool drop_last = false;  // leave out a final batch that is not full
  uint64_t seed = 0;       // of the order and of the augmentation
  OnCorrupt on_corrupt = OnCorrupt::kThrow;
  /// Replaces sequence and shuffle: the sample indices of an epoch, of the same count every time.
  /// `generator` depends on (seed, epoch).
  std::function<std::vector<int64_t>(int64_t epoch, Generator generator)> sampler = nullptr;
};

struct SkippedSample {
  int64_t index = 0;
  std::string message;  // names the file
};

/// N >= 1 samples; N is below the batch size in the last batch and where files were skipped.
struct Batch {
  int64_t epoch = 0;
  int64_t number = 0;  // position in the epoch; resume with start_epoch(epoch, number + 1)
  Tensor images;       // (N, H, W, C) f32
  Tensor labels;       // (N) i64
  std::vector<int64_t> indices;  // (N) dataset indices

  int64_t size() const { return static_cast<int64_t>(indices.size()); }
};

/// Loads batches ahead of their use on worker threads. The batches of an epoch, their order and
/// every augmentation depend only on (dataset, options.seed, epoch, batch_size, sampler), never on
/// the number of workers or on timing: sample i of epoch e draws from a generator forked by (e, i).
///
///   Loader loader(dataset, {.batch_size = 32, .shuffle = true});
///   for (int64_t epoch = 0; epoch < epochs; ++epoch) {
///     loader.start_epoch(epoch);
///     while (std::optional<Batch> batch = loader.next()) train(*batch);
///   }
///
/// One consumer thread. The destructor and start_epoch may come at any time; workers finish the
/// sample in hand. Workers run parallel_for serially.
class Loader {
 public:
  /// Throws ValueError for an empty dataset, a batch_size or prefetch below 1, workers below 0,
  /// sampler indices outside the dataset, and when drop_last leaves no batch.
  Loader(std::shared_ptr<const Dataset> dataset, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int64_t batches_per_epoch() const { return batches_; }

  /// Begins (or abandons the current epoch and begins) `epoch` at batch `first_batch` in
  /// [0, batches_per_epoch()].
  void start_epoch(int64_t epoch, int64_t first_batch = 0);

  /// The next batch, in order; nullopt at the end of the epoch or before the first start_epoch. A
  /// batch of which every sample was skipped is passed over.
  /// Throws what the batch's first failing sample threw, its file named; ShapeError when samples of
  /// one batch differ in size. After a throw the epoch is over.
  std::optional<Batch> next();

  /// The samples left out of the batches that next() has passed in this epoch, in order.
  const std::vector<SkippedSample>& skipped() const { return skipped_; }

 private:
  struct Item {
    std::optional<Sample> sample;
    std::exception_ptr error;
  };
  struct Result {
    Batch batch;
    std::vector<SkippedSample> skipped;
    std::exception_ptr error;
  };
  /// A batch on its way.
  struct Slot {
    std::vector<int64_t> indices;
    std::vector<Item> items;
    int64_t pending = 0;  // items not loaded yet
    std::optional<Result> result;
  };
  /// Consecutive samples of one batch, handed to one worker.
  struct Task {
    int64_t generation = 0, epoch = 0, batch = 0;
    size_t first = 0;
    std::vector<int64_t> indices;
  };

  std::vector<int64_t> epoch_order(int64_t epoch) const;
  std::vector<int64_t> batch_indices(int64_t batch) const;
  Item load(int64_t epoch, int64_t index) const;
  Result assemble(int64_t epoch, int64_t number, std::vector<int64_t> indices,
                  std::vector<Item> items) const;
  Slot& slot(int64_t batch) { return slots_[static_cast<size_t>(batch % options_.prefetch)]; }
  Task take_task();
  void open_slots();
  void stop();
  void work();
  void run_task(const Task& task);
  void deliver(const Task& task, Result result);
  Result next_result();

  std::shared_ptr<const Dataset> dataset_;
  LoaderOptions options_;
  int64_t batches_ = 0;
  std::vector<SkippedSample> skipped_;  // consumer's thread only

  std::mutex mutex_;  // guards what follows, but for threads_
  std::condition_variable work_available_, batch_ready_;
  std::vector<int64_t> order_;
  std::vector<Slot> slots_;  // ring: batch b lives in slots_[b % prefetch]
  /// Counts start_epoch calls; results that carry an older number are dropped. Atomic because
  /// workers also look at it between two samples.
  std::atomic<int64_t> generation_{0};
  int64_t epoch_ = 0;
  int64_t consumed_ = 0;    // the next batch of next()
  int64_t opened_ = 0;      // the next batch to get a slot
  int64_t end_ = 0;         // batches in the epoch; 0 when none runs
  int64_t task_batch_ = 0;  // the next sample to hand out: batch and position in it
  size_t task_item_ = 0;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tessera::data
