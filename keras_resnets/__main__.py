from keras_resnets.commands.cli import entry

entry()
