from keras_resnets.cli import entry

entry()
