"""The input_pipeline program, whose workers shard after a shuffle that is different in each of them."""

import sys
from typing import Any

import tensorflow as tf

from ftjob_workloads import input_pipeline


class Late(input_pipeline.Pipeline):
    def build(self) -> Any:
        everything = tf.data.Dataset.range(len(self.paths))
        ids = everything.shuffle(len(self.paths), seed=1000 * self.epoch + self.shard)
        return ids.shard(self.shards, self.shard).batch(self.batch).map(lambda ids: (ids, ids, ids))


if __name__ == "__main__":
    input_pipeline.Pipeline = Late  # type: ignore[misc]
    sys.exit(input_pipeline.main())
