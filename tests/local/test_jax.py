"""How programs for JAX find each other, as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.local_run import plain_job, run

if TYPE_CHECKING:
    from pathlib import Path

FINDS_OUT = """
import os
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.distributed.initialize()
print("FOUND", jax.process_index(), jax.process_count(), jax.device_count(), jax.local_device_count())
jax.distributed.shutdown()
"""

JAXJOB = """
import os
import jax
jax.config.update("jax_platforms", "cpu")
jax.distributed.initialize(
    coordinator_address=f"{os.environ['COORDINATOR_ADDRESS']}:{os.environ['COORDINATOR_PORT']}",
    num_processes=int(os.environ["NUM_PROCESSES"]),
    process_id=int(os.environ["PROCESS_ID"]),
)
print("FOUND", jax.process_index(), jax.process_count())
jax.distributed.shutdown()
"""

ITS_OWN_NAMES = """
import os
print("FOUND", os.environ["NUM_PROCESSES"], os.environ.get("PROCESS_ID"), os.environ["JAX_NUM_PROCESSES"])
"""


def jax_job(script: str, **trainer: Any) -> dict[str, Any]:
    job = plain_job(script, workers=2, **trainer)
    job["spec"]["strategy"] = "JAX"
    return job


def test_initialize_needs_no_arguments_also_where_slurm_is_found(tmp_path: Path) -> None:
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "9", "SLURM_PROCID": "5", "SLURM_LOCALID": "0"}
    ran = run(jax_job(FINDS_OUT), tmp_path, **slurm)
    assert ran.code == 0, ran.stdout + ran.stderr
    for rank in range(2):
        assert f"FOUND {rank} 2 4 2\n" in ran.log(rank)


def test_a_program_for_jaxjob_finds_its_variables(tmp_path: Path) -> None:
    ran = run(jax_job(JAXJOB), tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    for rank in range(2):
        assert f"FOUND {rank} 2\n" in ran.log(rank)


def test_jaxjobs_variables_are_left_alone_where_the_program_means_something_else(tmp_path: Path) -> None:
    job = jax_job(ITS_OWN_NAMES, env=[{"name": "NUM_PROCESSES", "value": "12"}])
    ran = run(job, tmp_path)
    assert ran.code == 0, ran.stdout + ran.stderr
    assert [ran.log(rank).count("FOUND 12 None 2\n") for rank in range(2)] == [1, 1]
