# In: an ONNX file. Out: OpenVINO's form of it with int8 weights, as NNCF makes them by default. Run
# with the environment "openvino".
"""usage: compress_openvino.py MODEL.onnx MODEL.xml"""

import sys

import nncf
import openvino

model = nncf.compress_weights(openvino.Core().read_model(sys.argv[1]))
openvino.save_model(model, sys.argv[2], compress_to_fp16=False)
