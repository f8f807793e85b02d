"""One activation to its explanation and back.

python examples/one_activation.py "The capital of France is"
"""

import sys

import numpy as np

import nla_eval


def main(text: str) -> None:
    """Capture the last token's activation, put it into words, rebuild it from the words."""
    target, pack = nla_eval.load_target(), nla_eval.load_pack("smollm2-135m-l20")
    engine = nla_eval.load_engine(target, pack)
    ids = np.array(target.tokenizer(text)["input_ids"], np.int32)
    request = nla_eval.CaptureRequest("text", ids, np.array([len(ids) - 1]))
    activation = next(iter(engine.capture([request]))).activations[0]
    sampling = nla_eval.Sampling(temperature=0.0)
    draw = next(iter(engine.verbalize([nla_eval.VerbalizeRequest("text", activation)], sampling)))
    back = engine.reconstruct([draw.text])[0]
    cosine = float(back @ activation / np.linalg.norm(back) / np.linalg.norm(activation))
    print(f"block {pack.layer}: {draw.text}\ncosine of activation and reconstruction: {cosine:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
