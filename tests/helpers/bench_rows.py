"""A row of the bench as it is printed."""


def a_row(**different):
    return {
        "strategy": "umss",
        "stage": "",
        "batch": 4,
        "seconds": 4.0,
        "devices": 1,
        "parallel": None,
        "compute": "float32",
        "step_s": 2.0,
        "step_s_spread": [1.9, 2.2],
        "gflop_per_example": 20.0,
        "gflop_direct_per_example": 30.0,
        "processor_s": 3.0,
        "ceiling_gflops": 100.0,
        "ceiling_copy_gib_s": 10.0,
        "peak_memory_bytes": 2_000_000_000,
        "program_memory_bytes": 500_000_000,
        "compile_s": 16.0,
        "device": "cpu: A (2 cores)",
        "jax": "1.2.3",
        "jaxlib": "1.2.4",
        "instruction_sets": ["avx2"],
        "commit": "abc",
        **different,
    }
