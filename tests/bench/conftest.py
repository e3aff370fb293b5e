# In: nothing. Out: bench/ and bench/rivals/ can be imported.
import pathlib
import sys

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path[:0] = [str(BENCH), str(BENCH / "rivals")]
